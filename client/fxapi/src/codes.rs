//! Return codes of the C functions: which ones each may give (spec/fexics.md 4.3), and the RC of a client error.

use client::ClientError;
use codec::link::rc;

/// A function, for the table of its codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Open,
    Connect,
    CtrlSign,
    CtrlShutdown,
    CtrlRecovery,
    CutDate,
    Send,
    Receive,
    SystemCancel,
    CutOver,
}

impl Function {
    /// Every code the function may return.
    fn allowed(self) -> &'static [u16] {
        match self {
            Function::Open => &[0, 15, 18, 1000],
            Function::Connect => &[0, 1, 7, 10, 11, 13, 15, 16, 18, 25, 43],
            Function::CtrlSign => &[0, 7, 13, 15, 18, 24],
            Function::CtrlShutdown => &[0, 7, 13, 15, 18, 23, 24, 1000],
            Function::CtrlRecovery => &[
                0, 1, 7, 11, 12, 13, 15, 16, 17, 18, 24, 25, 34, 40, 43, 1000,
            ],
            Function::CutDate => &[0, 7, 13, 15, 18, 1000],
            Function::Send => &[0, 7, 11, 13, 15, 16, 18, 19, 25, 34, 40, 43, 1000],
            Function::Receive => &[0, 7, 10, 13, 14, 15, 16, 17, 18, 40, 1000],
            Function::SystemCancel => &[
                0, 1, 7, 10, 11, 12, 13, 15, 16, 17, 18, 25, 31, 34, 36, 40, 43, 1000,
            ],
            Function::CutOver => &[0, 7, 13, 15, 18],
        }
    }

    /// The code to return: the daemon's own where the function has it, else the nearest that it has.
    pub fn code(self, result: Result<(), ClientError>) -> u32 {
        let code = match result {
            Ok(()) => rc::OK,
            // A daemon that is not there, as the functions that start and stop it name it.
            Err(ClientError::NotConnected) if self.allowed().contains(&rc::PKG_IS_NOT_STARTED) => {
                rc::PKG_IS_NOT_STARTED
            }
            Err(error) => error.rc(),
        };
        let fitting = [code, rc::ERROR_DAEMON, rc::ERROR_SOCKET];
        let code = fitting.iter().find(|code| self.allowed().contains(code));
        u32::from(*code.unwrap_or(&rc::ERROR_API_INTERNAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the daemon says, a function returns only what its callers know.
    #[test]
    fn functions_keep_to_their_codes() {
        use Function::*;
        let functions = [
            Open,
            Connect,
            CtrlSign,
            CtrlShutdown,
            CtrlRecovery,
            CutDate,
            Send,
            Receive,
            SystemCancel,
            CutOver,
        ];
        for function in functions {
            for code in 1..=1000 {
                let returned = function.code(Err(ClientError::Refused { code }));
                let allowed = function.allowed().iter().any(|a| u32::from(*a) == returned);
                assert!(allowed, "{function:?} {code} -> {returned}");
                if function.allowed().contains(&code) {
                    assert_eq!(returned, u32::from(code));
                }
            }
        }
        let gone = Err(ClientError::NotConnected);
        assert_eq!(CtrlSign.code(gone), 24);
        assert_eq!(Send.code(gone), 18);
    }
}

//! What each happening does.

use super::wires::{End, is_link};
use super::{Happening, Looked, ToGateway, World};
use crate::sim::centre::Act;
use crate::sim::gateway::{DOWN_NS_MAX, Gateway};
use crate::sim::{MS, SEC};
use codec::cafis::header::Header;
use codec::link::Assembler;
use engine::core::{Event, Found, LineNo, LinkId, SessionId};

/// A telegram in a line of trace.
pub(crate) fn telegram(frame: &[u8]) -> String {
    match Header::new(frame) {
        Ok(header) => {
            let code = frame
                .get(63..66)
                .map(String::from_utf8_lossy)
                .unwrap_or_default();
            let (mti, route, sequence) = (header.mti().0, header.route(), header.sequence());
            format!(
                "{mti:04} route {:?} sequence {:?} {code:?}",
                route, sequence
            )
        }
        Err(_) => format!("{} bytes", frame.len()),
    }
}

/// A link frame in a line of trace.
pub(crate) fn link_frame(frame: &[u8]) -> String {
    match Assembler::new().split(frame) {
        Ok(split) => split.frame.map_or(String::new(), |frame| {
            let head = frame.head;
            format!(
                "{:?} session {} request {} code {} flags {}",
                head.kind, head.session, head.request, head.code, head.flags
            )
        }),
        Err(error) => error.to_string(),
    }
}

impl World {
    pub(super) fn happen(&mut self, what: Happening) -> Result<(), String> {
        match what {
            Happening::Gateway(boot, what) => {
                if boot == self.boot && self.gateway.is_some() {
                    self.stalled.push_back(what);
                }
                Ok(())
            }
            Happening::CentreFrame(session, frame) => self.centre_frame(session, frame),
            Happening::CentreDown(session) => {
                self.centre_down(session);
                Ok(())
            }
            Happening::CentreConnect(line) => {
                self.centre_connect(line);
                Ok(())
            }
            Happening::CentreLater(line, what) => {
                self.note(|| format!("centre {line}: {}", crate::sim::centre::name(&what)));
                let now = self.now;
                self.centres[line].later(now, what);
                self.flush_centre(line);
                Ok(())
            }
            Happening::AppFrame(link, frame) => self.app_frame(link, &frame),
            Happening::AppDown(link) => {
                self.app_down(link);
                Ok(())
            }
            Happening::App(app) => {
                self.app_acts(app);
                Ok(())
            }
            Happening::Written(boot, ticket) => {
                if boot == self.boot
                    && let Some(gateway) = &mut self.gateway
                {
                    gateway.written(&mut self.disk, ticket);
                    self.book_durable()?;
                }
                Ok(())
            }
            Happening::Chaos => {
                self.chaos();
                Ok(())
            }
            Happening::Heal => {
                self.heal_turn();
                Ok(())
            }
            Happening::Restart => self.restart(),
        }
    }

    /// Gives the gateway what waits for it, as long as its journal has room.
    pub(super) fn unstall(&mut self) -> Result<(), String> {
        while self
            .gateway
            .as_ref()
            .is_some_and(|gateway| gateway.pipeline.has_room())
            && let Some(what) = self.stalled.pop_front()
        {
            self.gateway_event(what)?;
        }
        Ok(())
    }

    fn gateway_event(&mut self, what: ToGateway) -> Result<(), String> {
        let now = self.clock();
        let session = |wire: &super::wires::Wire, session: &u64| {
            (LineNo(wire.owner as u16), SessionId(*session))
        };
        match &what {
            ToGateway::SessionUp(number) | ToGateway::LinkUp(number) => {
                if self.stillborn(*number) {
                    if is_link(*number) {
                        self.wires.slots[*number as u32 as usize] = false;
                    }
                    return Ok(());
                }
                let link = is_link(*number);
                let Some(wire) = self.wires.all.get_mut(number) else {
                    return Ok(());
                };
                wire.gateway = true;
                let (line, id) = session(wire, number);
                let event = match link {
                    true => Event::LinkUp {
                        link: LinkId(*number),
                    },
                    false => Event::SessionUp { line, session: id },
                };
                self.note(|| format!("{what:?}"));
                self.step_gateway(event);
            }
            ToGateway::SessionDown(number) | ToGateway::LinkDown(number) => {
                let link = is_link(*number);
                let Some(wire) = self.wires.all.get_mut(number) else {
                    return Ok(());
                };
                let (line, id) = session(wire, number);
                let knew = std::mem::take(&mut wire.gateway);
                if !knew {
                    return Ok(());
                }
                let event = match link {
                    true => Event::LinkDown {
                        link: LinkId(*number),
                    },
                    false => Event::SessionDown { line, session: id },
                };
                self.note(|| format!("{what:?}"));
                self.step_gateway(event);
                if link {
                    self.wires.slots[*number as u32 as usize] = false;
                }
            }
            ToGateway::Telegram(number, frame) => {
                if !self.carries(*number, End::Gateway) {
                    return Ok(());
                }
                self.note(|| format!("centre -> gateway {} on {number}", telegram(frame)));
                let line = LineNo(self.wires.all[number].owner as u16);
                let event = Event::Telegram {
                    line,
                    session: SessionId(*number),
                    frame,
                };
                crate::sim::check::heard(self, frame);
                self.step_gateway(event);
            }
            ToGateway::LinkFrame(number, bytes) => {
                if !self.carries(*number, End::Gateway) {
                    return Ok(());
                }
                self.note(|| format!("app -> gateway {} on {number:x}", link_frame(bytes)));
                let mut assembler = Assembler::new();
                let split = assembler.split(bytes).map_err(|error| error.to_string())?;
                let frame = split.frame.ok_or("an application's frame is not whole")?;
                self.step_gateway(Event::LinkFrame {
                    link: LinkId(*number),
                    frame,
                });
            }
            ToGateway::LookedUp(cookie, found) => {
                let found = found.as_ref().map(|looked| match looked {
                    Looked::Up(tx, entry) => entry.found(*tx),
                    Looked::Unreadable => Found::Unreadable,
                });
                self.note(|| match found {
                    Some(Found::Past(past)) => format!("looked up {cookie}: {}", past.tx),
                    other => format!("looked up {cookie}: {other:?}"),
                });
                self.step_gateway(Event::LookedUp {
                    cookie: *cookie,
                    found,
                });
            }
            ToGateway::Space(space) => {
                self.note(|| format!("room in the journal: {space:?}"));
                self.step_gateway(Event::Space(*space));
            }
            ToGateway::Terminate => {
                self.note(|| "terminate".into());
                self.step_gateway(Event::Terminate);
            }
        }
        let _ = now;
        Ok(())
    }

    fn step_gateway(&mut self, event: Event<'_>) {
        let now = self.clock();
        if let Some(gateway) = &mut self.gateway {
            gateway.step(now, event);
        }
    }

    fn centre_frame(&mut self, session: u64, frame: Vec<u8>) -> Result<(), String> {
        if !self.carries(session, End::Peer) {
            return Ok(());
        }
        if self.manual {
            self.inbox.push_back((session, frame));
            return Ok(());
        }
        self.note(|| format!("centre receives {} on {session}", telegram(&frame)));
        let line = self.wires.all[&session].owner;
        let now = self.now;
        self.centres[line].frame(now, session, &frame)?;
        self.flush_centre(line);
        if self.rng.chance(self.plan.chaos.session_reset / 20) {
            self.break_wire(session, 2 * SEC);
        }
        Ok(())
    }

    /// What the centre wants done is done.
    pub(crate) fn flush_centre(&mut self, line: usize) {
        for act in self.centres[line].acts() {
            match act {
                Act::After(ns, what) => self.after(ns, Happening::CentreLater(line, what)),
                Act::Send(session, frame) => {
                    let sessions = &self.centres[line].sessions;
                    if sessions.is_empty() {
                        continue;
                    }
                    let any = sessions[self.rng.below(sessions.len() as u64) as usize];
                    let session = session.unwrap_or(any);
                    self.send_gateway(session, ToGateway::Telegram(session, frame));
                }
            }
        }
    }

    fn centre_down(&mut self, session: u64) {
        let Some(wire) = self.wires.all.get_mut(&session).filter(|wire| wire.peer) else {
            return;
        };
        wire.peer = false;
        let line = wire.owner;
        self.note(|| format!("centre {line} loses session {session}"));
        self.centres[line].disconnected(session);
        self.flush_centre(line);
        if !self.manual {
            let wait = *self.rng.pick(&[SEC, 5 * SEC, 80 * SEC]);
            self.after(wait, Happening::CentreConnect(line));
        }
    }

    fn centre_connect(&mut self, line: usize) {
        if self.centres[line].sessions.len() >= usize::from(self.plan.core.lines[line].accept_count)
        {
            return;
        }
        match self.gateway.is_some() {
            true => {
                self.connect_session(line);
            }
            false => self.after(10 * SEC, Happening::CentreConnect(line)),
        }
    }

    fn app_frame(&mut self, link: u64, bytes: &[u8]) -> Result<(), String> {
        if !self.carries(link, End::Peer) {
            return Ok(());
        }
        let app = self.wires.all[&link].owner;
        if self.apps[app].link() != Some(link) {
            return Ok(());
        }
        let mut assembler = Assembler::new();
        let split = assembler
            .split(bytes)
            .map_err(|error| format!("link: {error}"))?;
        let frame = split.frame.ok_or("link: half a frame")?;
        let now = self.now;
        self.apps[app].frame(now, &frame, &mut self.deals)?;
        self.flush_app(app);
        if self.rng.chance(self.plan.chaos.link_cut / 3) {
            self.break_wire(link, 2 * SEC);
        }
        Ok(())
    }

    /// What an application has written goes on its way.
    pub fn flush_app(&mut self, app: usize) {
        let Some(link) = self.apps[app].link() else {
            return;
        };
        for frame in self.apps[app].frames() {
            self.send_gateway(link, ToGateway::LinkFrame(link, frame));
            if self.rng.chance(self.plan.chaos.link_cut / 3) {
                self.break_wire(link, 2 * SEC);
            }
        }
    }

    fn app_down(&mut self, link: u64) {
        let Some(wire) = self.wires.all.get_mut(&link) else {
            return;
        };
        wire.peer = false;
        let app = wire.owner;
        self.note(|| format!("app {app} loses link {link:x}"));
        self.apps[app].disconnected(link);
    }

    fn app_acts(&mut self, app: usize) {
        let wait = self.rng.between(self.plan.app_ns / 4, self.plan.app_ns * 2);
        self.after(wait, Happening::App(app));
        if self.gateway.is_some() && self.apps[app].wants_link() && self.rng.chance(300) {
            self.connect_link(app);
        }
        let now = self.now;
        self.apps[app].act(now, &mut self.deals);
        self.flush_app(app);
    }

    /// The process or the machine dies.
    pub(super) fn crash(&mut self) -> Result<(), String> {
        self.note(|| "CRASH".into());
        self.stats.crashes += 1;
        self.stopped_clean = false;
        self.gateway_gone();
        Ok(())
    }

    /// Kills the gateway; it starts again by itself.
    ///
    /// # Errors
    /// None, in fact.
    pub fn kill(&mut self) -> Result<(), String> {
        self.crash()
    }

    /// The gateway stops by itself.
    pub(super) fn stop(&mut self, clean: bool) -> Result<(), String> {
        self.note(|| format!("the gateway stops, clean: {clean}"));
        self.stats.crashes += 1;
        self.stopped_clean = clean;
        self.gateway_gone();
        Ok(())
    }

    fn gateway_gone(&mut self) {
        self.gateway = None;
        self.stalled.clear();
        self.disk.crash();
        self.break_everything();
        let wait = match self.rng.chance(300) {
            true => self.rng.between(10 * SEC, DOWN_NS_MAX),
            false => self.rng.between(100 * MS, 5 * SEC),
        };
        self.after(wait, Happening::Restart);
    }

    fn restart(&mut self) -> Result<(), String> {
        self.boot += 1;
        let mut cfg = self.plan.core.clone();
        cfg.boot = self.boot;
        let now = self.clock();
        let (gateway, recovered) =
            Gateway::start(&self.plan, &mut self.disk, &cfg, &self.first, now)?;
        self.note(|| {
            format!(
                "START boot {} after record {}, clean {}, cut {:?}",
                cfg.boot, recovered.last_record, recovered.clean, recovered.cut
            )
        });
        if self.stopped_clean && !recovered.clean {
            return Err("8: an orderly stop is not the last thing on record".into());
        }
        self.gateway = Some(gateway);
        self.rebook()?;
        crate::sim::check::restarted(self);
        if !self.healing && self.plan.chaos.crash > 0 && self.rng.chance(300) {
            self.crash_in = Some(self.rng.below(12));
        }
        Ok(())
    }
}

/*
 * fxapi.h - the FX_* functions for applications in C and C++, CAFIS service.
 *
 * Link with -lfxapi. The library finds the daemon by the file fx_cf.cf (section SOCKET_PORT) in the directory FX_CONF,
 * else FX_ROOT/config, else the current directory.
 *
 * Rules for every function:
 *  - Text has a fixed width, stated with each parameter. Input needs no terminating zero, output has none.
 *  - Memory for output belongs to the caller. It is written only when the function returns RC_OK.
 *  - NULL, or a value out of range, gives RC_INVALID_PARAM.
 *  - One thread uses a session at a time. A second call meanwhile gives RC_USE_SESSION_ID and does nothing.
 *  - A process that called fork(): the child opens sessions of its own, and must have opened none before the fork
 *    that it goes on to use. fork() followed by exec() is always allowed.
 *  - The library runs one thread for each daemon, with all signals blocked. It is not to be unloaded by dlclose().
 *
 * When a payment is done: FX_ReceiveMsg_CF returns RC_OK only after the daemon has recorded that this application took
 * the report; from then on the daemon never cancels it by itself. After any other code of FX_SendMsg_CF (except those
 * that say that nothing was sent) or FX_ReceiveMsg_CF the application does not know the outcome, and must not treat
 * the payment as approved: it settles it by FX_SendSystemCancel_CF.
 */
#ifndef FXAPI_H
#define FXAPI_H

#if !defined(CAFIS_SERVICE3)
#error "Define CAFIS_SERVICE3 before including fxapi.h: it is the service that this library offers."
#endif

#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Types ------------------------------------------------------------------------------------------------------ */

typedef char          CHAR;   /* a byte of text */
typedef unsigned char BYTE;   /* a byte of anything */
typedef int16_t       SHORT;
typedef uint16_t      USHORT;
typedef int           INT;
typedef unsigned int  UINT;
typedef int32_t       LONG;
typedef uint32_t      ULONG;  /* 32 bits on every platform */
typedef int           BOOL;

#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif

/* ---- Return codes ----------------------------------------------------------------------------------------------- */

#define RC_OK                          0    /* done */
#define RC_NG                          1    /* refused */
#define RC_REFER_TO_ISSUER             2    /* refused; ask the issuer */
#define RC_PK                          3    /* refused; keep the card */
#define RC_ERROR                       4    /* system error */
#define RC_INVALID_PIN                 5    /* wrong PIN block */
#define RC_NO_MSG_IN_FILE              6    /* no such message in the journal */
#define RC_NO_SESSION_ID               7    /* the session is unknown or closed */
#define RC_INVALID_MSGGRP              8    /* unsupported group of messages */
#define RC_REMAIN_MSG                  9    /* the session's queue is not empty */
#define RC_TIME_OUT                    10   /* a timer expired; the daemon settles what was outstanding */
#define RC_TIMEOUT                     RC_TIME_OUT
#define RC_INVALID_MSG                 11   /* characters that a telegram may not hold */
#define RC_ERR_CENTER_BUSY             12   /* the destination or the centre is congested; try again later */
#define RC_USE_SESSION_ID              13   /* another call uses the session */
#define RC_DATA_IS_NOT_READY           14   /* nothing received yet */
#define RC_ERROR_API_INTERNAL          15   /* this library failed, or fx_cf.cf cannot be read */
#define RC_ERROR_DAEMON                16   /* the daemon failed */
#define RC_ERROR_CENTER                17   /* the centre sent something unusable */
#define RC_ERROR_SOCKET                18   /* the link to the daemon is lost; close this session */
#define RC_ROUTE_BUSY                  19   /* no free route; nothing was sent */
#define RC_APPL_IS_REMAINED            20   /* applications still use the daemon */
#define RC_COULD_NOT_OPEN_JOURNAL      21   /* the journal cannot be opened */
#define RC_PKG_ALREADY_STARTED         22   /* the daemon runs already */
#define RC_PKG_IS_NOT_SIGNOFF          23   /* the line is not signed off */
#define RC_PKG_IS_NOT_STARTED          24   /* the daemon does not run */
#define RC_PKG_IS_SIGNOFF_OR_SWITCHING 25   /* the line is signed off, or its state is changing; nothing was sent */
#define RC_ERR_OPENSESSION             30   /* a session could not be opened */
#define RC_ERR_SEARCHJOURNAL           31   /* no such transaction in the journal */
#define RC_ERR_GETCANCELTRN            32   /* the original cannot be cancelled */
#define RC_ERR_BUILDMSG                33   /* the message could not be built */
#define RC_ERR_GETSEQNUM               34   /* no sequence number or key could be had */
#define RC_ERR_SENDMSG                 35   /* sending failed */
#define RC_ERR_RETRY_OVER              36   /* every repetition was used up */
#define RC_ERR_RECEIVEMSG              37   /* receiving failed */
#define RC_ERR_APPOINT_NUM             38   /* wrong transaction number */
#define RC_ERR_OPEN_FILE               39   /* a file cannot be opened */
#define RC_ERR_JOURNAL                 40   /* the journal cannot take the record; nothing was sent */
#define RC_INVALID_PARAM               1000 /* a wrong argument */

/* Events: the first two digits of an event block. 43 is also a return code: no session with the centre. */
#define RC_OK_CENTER_SESSION           41   /* all contracted sessions with the centre are up */
#define RC_ERR_PART_CENTER_SESSION     42   /* some of them were cut */
#define RC_ERR_ALL_CENTER_SESSION      43   /* all of them were cut */
#define RC_SIGNON                      44   /* the line signed on */
#define RC_SIGNOFF                     45   /* the line signed off */
#define RC_FORMAT_ERROR                48   /* a malformed telegram came */
#define RC_DESTROY_CARDNET_MESSAGE     49   /* a CARDNET telegram was discarded */
#define RC_DESTROY_CAFIS_MESSAGE       50   /* a CAFIS telegram was discarded; its fields follow as label="value" lines */

/* ---- Sessions and the line -------------------------------------------------------------------------------------- */

/* Opens a session: RC_ERROR_SOCKET if the daemon cannot be reached. The number is never 0. All sessions of a process
 * share one connection, and they end with the process. Open a session at start, not for each payment. */
ULONG FX_OpenSession_CF(ULONG *pulSessionId);

/* Closes a session. What it had outstanding is given up, and settled by the daemon. */
ULONG FX_CloseSession(ULONG ulSessionId);

/* Signs on or off with the centre, and returns at its answer or after the timer (t34; t35, which is long). RC_NG: the
 * centre refused. */
ULONG FX_Connect(ULONG ulSessionId);
ULONG FX_Disconnect(ULONG ulSessionId);

/* Sets the daemon's state without a telegram: after a fault of the line, when both sides agreed by other means. */
ULONG FX_CtrlSignOn(ULONG ulSessionId);
ULONG FX_CtrlSignOff(ULONG ulSessionId);

/* Stops the daemon. FALSE: only when signed off. TRUE: at once; the next start needs FX_CtrlRecovery. */
ULONG FX_CtrlShutdown(ULONG ulSessionId, BOOL fFource);

/* Settles at the centre what an abnormal stop left open, and returns when all of it is done. */
ULONG FX_CtrlRecovery(ULONG ulSessionId);

/* The cut date: the date fields are set, the time is 0, tm_isdst is -1. */
ULONG FX_GetCutDate(ULONG ulSessionId, struct tm *pTm);

/* Changes the cut date. Nothing is sent to the centre. */
ULONG FX_SendCutOverMsg(ULONG ulSessionId);

/* TRUE: the daemon answers; the line is signed on; its state is changing or recovery runs; recovery runs.
 * Any error reads as FALSE. */
BOOL FX_IsRunning(ULONG ulSessionId);
BOOL FX_IsSignOn(ULONG ulSessionId);
BOOL FX_IsSwitch(ULONG ulSessionId);
BOOL FX_IsRecoveryMode(ULONG ulSessionId);

/* ---- Payments --------------------------------------------------------------------------------------------------- */

/* Sends a telegram, and returns when the daemon has taken it. Control and 89xx messages are the daemon's own:
 * RC_INVALID_PARAM. Several requests may be outstanding on a session; their reports come in the order of arrival. */
ULONG FX_SendMsg_CF(ULONG ulSessionId,
                    CHAR *pcCenterId,   /* 2: "00"; in an answer to a centre request, the value received */
                    CHAR *pcSeq,        /* 6: spaces; in an answer, the value received */
                    CHAR *pcIssuerCd,   /* 11: destination company 7 and sub code 4 */
                    CHAR *pcAcquirerCd, /* 11: originating company 7 and sub code 4 */
                    CHAR *pcTgramKind,  /* 4: message kind */
                    INT piTgramLen,     /* length of pcTgram, 0 to 961 */
                    CHAR *pcTgram);     /* data part, without the common control header */

/* Receives a report. ulReceiveMode 0 waits for the timer of the kind and 10 seconds, then RC_TIME_OUT: everything
 * outstanding on the session without a report is then given up. Mode 1 returns at once, RC_DATA_IS_NOT_READY if
 * nothing came. RC_OK does not say "approved": look at the kind and at the error code in the data.
 *
 * With the kind "CENTER" it receives events (kind "FEXICS"; the data is 2 digits of code and 255 bytes of text in
 * Shift_JIS, filled with spaces) and requests of the centre, which the application must answer by FX_SendMsg_CF. */
ULONG FX_ReceiveMsg_CF(ULONG ulSessionId,
                       ULONG ulReceiveMode, /* 0 synchronous, 1 asynchronous */
                       CHAR *pcCenterId,    /* out, 2 */
                       CHAR *pcSeq,         /* out, 6 */
                       CHAR *pcIssuerCd,    /* out, 11 */
                       CHAR *pcAcquirerCd,  /* out, 11 */
                       CHAR *pcTgramKind,   /* in: 4, the kind of the request, or 6, "CENTER"; out: as wide as in */
                       CHAR *pcDate,        /* out, 4: the centre's MMDD */
                       INT *piTgramLen,     /* out */
                       CHAR *pcTgram);      /* out, room for 1024 */

/* Cancels a transaction at the centre, by the key in its section 1-0, and returns when that is settled. RC_OK also if
 * it was cancelled before; RC_NG: refused; RC_ERR_SEARCHJOURNAL: the daemon has no such transaction. */
ULONG FX_SendSystemCancel_CF(ULONG ulSessionId,
                             CHAR *pcDate,         /* 6: YYMMDD */
                             CHAR *pcTerminalNo,   /* 13 */
                             CHAR *pcTerminalSeq); /* 5 */

#ifdef __cplusplus
}
#endif

#endif

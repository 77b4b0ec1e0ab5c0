/*
 * One authorisation of a test card, from a C program.
 *
 *   cc -std=c11 -I client/include -o authorise client/examples/authorise.c -L target/release -lfxapi
 *   LD_LIBRARY_PATH=target/release FX_CONF=/etc/sekisho ./authorise 00001
 *
 * Arguments: the terminal sequence, 1 to 99999, which must be new for each payment of a day; then, if wanted, the amount
 * in yen, and `signon` to sign the line on first.
 * Exit code: 0 approved, 1 declined, 2 wrong arguments, 3 settled by a cancel, 4 the outcome must be settled by hand.
 */
#define CAFIS_SERVICE3
#include "fxapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { APPROVED = 0, DECLINED = 1, USAGE = 2, CANCELLED = 3, UNSETTLED = 4 };

/* Section 1-0 (47 bytes) and section 1-1 (98 bytes), and the zero that sprintf adds. */
#define SECTION_10 47
#define SECTION_11 98

static const char TERMINAL[] = "9900199000001";
static const char CARD[] = "4111111111111111=2812";

static int fail(const char *what, ULONG rc)
{
    fprintf(stderr, "%s: return code %u\n", what, (unsigned)rc);
    return UNSETTLED;
}

/* What to do when the outcome is unknown: ask for the cancel until the daemon has settled it. */
static int settle(ULONG session, char *date, char *sequence)
{
    ULONG rc = RC_ERR_CENTER_BUSY;
    for (int tries = 0; tries < 3 && rc == RC_ERR_CENTER_BUSY; tries++)
        rc = FX_SendSystemCancel_CF(session, date, (char *)TERMINAL, sequence);
    printf("cancel: return code %u\n", (unsigned)rc);
    /* RC_ERR_SEARCHJOURNAL: the request never reached the journal, so there is nothing to cancel. */
    return rc == RC_OK || rc == RC_ERR_SEARCHJOURNAL ? CANCELLED : UNSETTLED;
}

static int authorise(ULONG session, unsigned sequence, unsigned amount)
{
    char date[7], number[6], data[SECTION_10 + SECTION_11 + 1];
    time_t now = time(NULL);
    struct tm *today = localtime(&now);
    if (today == NULL || strftime(date, sizeof date, "%y%m%d", today) != 6)
        return fail("date", RC_ERROR);
    snprintf(number, sizeof number, "%05u", sequence);
    int length = snprintf(data, sizeof data, "   000000002       %s%s%s000@21%-69s00000000000%08u0000000@",
                          TERMINAL, number, date, CARD, amount);
    if (length != SECTION_10 + SECTION_11)
        return fail("telegram", RC_ERR_BUILDMSG);

    ULONG rc = FX_SendMsg_CF(session, "00", "      ", "TEST9000000", "TEST0010000", "3110", length, data);
    if (rc == RC_ERROR_SOCKET || rc == RC_ERROR_DAEMON)
        return fail("send", rc), settle(session, date, number);
    if (rc != RC_OK)
        return fail("send", rc); /* refused: nothing was sent */

    char centre[2], centre_sequence[6], issuer[11], acquirer[11], kind[4], centre_date[4], report[1024];
    INT report_length = 0;
    memcpy(kind, "3110", 4);
    rc = FX_ReceiveMsg_CF(session, 0, centre, centre_sequence, issuer, acquirer, kind, centre_date,
                          &report_length, report);
    if (rc != RC_OK)
        return fail("receive", rc), settle(session, date, number);
    if (report_length < SECTION_10)
        return fail("report", RC_ERROR_CENTER), settle(session, date, number);
    printf("kind %.4s error [%.3s] approval [%.7s] terminal sequence %.5s\n", kind, report, report + 12,
           report + 32);
    return kind[2] == '2' && memcmp(report, "   ", 3) == 0 ? APPROVED : DECLINED;
}

int main(int argc, char **argv)
{
    unsigned sequence = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    unsigned amount = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
    if (sequence < 1 || sequence > 99999 || amount > 99999999) {
        fprintf(stderr, "usage: authorise SEQUENCE [AMOUNT [signon]]\n");
        return USAGE;
    }
    ULONG session = 0;
    ULONG rc = FX_OpenSession_CF(&session);
    if (rc != RC_OK)
        return fail("open", rc);
    int result = APPROVED;
    if (argc > 3 && strcmp(argv[3], "signon") == 0 && (rc = FX_Connect(session)) != RC_OK)
        result = fail("sign-on", rc);
    if (result == APPROVED)
        result = authorise(session, sequence, amount);
    rc = FX_CloseSession(session);
    if (rc != RC_OK)
        fail("close", rc);
    return result;
}

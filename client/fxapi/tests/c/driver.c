/* Drives the FX_* functions by the words on its command line, one result a line, for the tests in Rust. */
#define CAFIS_SERVICE3
#include "fxapi.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ULONG session;

/* Guard bytes behind each output show that no width is exceeded and that no zero is added. */
struct out { char centre[3], seq[7], issuer[12], acquirer[12], kind[7], date[5], data[1025]; INT length; };

static void say(const char *word, unsigned value) { printf("%s %u\n", word, value); fflush(stdout); }

static ULONG send_as(const char *kind, const char *data, INT length)
{
    return FX_SendMsg_CF(session, "00", "      ", "TEST9000000", "TEST0010000", (char *)kind, length, (char *)data);
}

static ULONG receive(const char *kind, ULONG mode, struct out *out)
{
    memset(out, '#', sizeof *out);
    memcpy(out->kind, kind, strlen(kind));
    return FX_ReceiveMsg_CF(session, mode, out->centre, out->seq, out->issuer, out->acquirer, out->kind, out->date,
                            &out->length, out->data);
}

static void show(const struct out *out)
{
    printf("%.3s|%.7s|%.12s|%.12s|%.7s|%.5s|%d|", out->centre, out->seq, out->issuer, out->acquirer, out->kind,
           out->date, out->length);
    fwrite(out->data, 1, (size_t)out->length + 1, stdout);
    printf("\n");
}

static void *wait_for_report(void *rc)
{
    struct out out;
    /* The other thread's question may have had the session first. */
    do *(ULONG *)rc = receive("3110", 0, &out);
    while (*(ULONG *)rc == RC_USE_SESSION_ID);
    return NULL;
}

static void two_threads(void)
{
    ULONG rc = 0;
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_report, &rc);
    /* Asking for the status costs the session nothing; FALSE says that the other call has it. */
    while (FX_IsRunning(session)) { }
    say("send", send_as("3110", "data", 4));
    say("close", FX_CloseSession(session));
    say("connect", FX_Connect(session));
    say("cutdate", FX_GetCutDate(session, &(struct tm){0}));
    fflush(stdout);
    pthread_join(thread, NULL);
    say("receive", rc);
}

static void nulls(void)
{
    char text[1025] = {0};
    memset(text, '0', sizeof text - 1);
    INT length = 0;
    char *p[8] = {text, text, text, text, text, text, text, text};
    say("open", FX_OpenSession_CF(NULL));
    say("cutdate", FX_GetCutDate(session, NULL));
    for (int n = 0; n < 6; n++) {
        p[n] = NULL;
        say("send", FX_SendMsg_CF(session, p[0], p[1], p[2], p[3], p[4] ? "3110" : NULL, 4, p[5]));
        p[n] = text;
    }
    for (int n = 0; n < 8; n++) {
        char kind[] = "3110";
        p[n] = NULL;
        say("receive", FX_ReceiveMsg_CF(session, 1, p[0], p[1], p[2], p[3], p[4] ? kind : NULL, p[5],
                                        p[6] ? &length : NULL, p[7]));
        p[n] = text;
    }
    for (int n = 0; n < 3; n++) {
        p[n] = NULL;
        say("cancel", FX_SendSystemCancel_CF(session, p[0], p[1], p[2]));
        p[n] = text;
    }
    say("kind", send_as("31x0", "data", 4));
    say("fault", send_as("8910", "data", 4));
    say("control", send_as("7020", "", 0));
    say("negative", send_as("3110", "data", -1));
    say("long", send_as("3110", text, 962));
    say("mode", FX_ReceiveMsg_CF(session, 2, text, text, text, text, (char[]){"3110"}, text, &length, text));
    say("awaited", FX_ReceiveMsg_CF(session, 1, text, text, text, text, (char[]){"CENTRE"}, text, &length, text));
    say("timer", FX_ReceiveMsg_CF(session, 1, text, text, text, text, (char[]){"7020"}, text, &length, text));
    say("shutdown", FX_CtrlShutdown(session, 2));
}

int main(int argc, char **argv)
{
    struct out out;
    struct tm tm;
    for (int n = 1; n < argc; n++) {
        const char *word = argv[n];
        ULONG rc = 0;
        if (!strcmp(word, "open")) rc = FX_OpenSession_CF(&session);
        else if (!strcmp(word, "close")) rc = FX_CloseSession(session);
        else if (!strcmp(word, "send")) rc = send_as("3110", "data", 4);
        else if (!strcmp(word, "send-control")) rc = send_as("3110", "\r", 1);
        else if (!strcmp(word, "answer")) rc = send_as("3150", "data", 4);
        else if (!strcmp(word, "receive")) { if (!(rc = receive("3110", 0, &out))) show(&out); }
        else if (!strcmp(word, "poll")) { if (!(rc = receive("3110", 1, &out))) show(&out); }
        else if (!strcmp(word, "centre")) { if (!(rc = receive("CENTER", 0, &out))) show(&out); }
        else if (!strcmp(word, "centre-poll")) { if (!(rc = receive("CENTER", 1, &out))) show(&out); }
        else if (!strcmp(word, "cancel")) rc = FX_SendSystemCancel_CF(session, "261123", "9900199000001", "00001");
        else if (!strcmp(word, "connect")) rc = FX_Connect(session);
        else if (!strcmp(word, "disconnect")) rc = FX_Disconnect(session);
        else if (!strcmp(word, "signon")) rc = FX_CtrlSignOn(session);
        else if (!strcmp(word, "signoff")) rc = FX_CtrlSignOff(session);
        else if (!strcmp(word, "shutdown")) rc = FX_CtrlShutdown(session, FALSE);
        else if (!strcmp(word, "force")) rc = FX_CtrlShutdown(session, TRUE);
        else if (!strcmp(word, "recovery")) rc = FX_CtrlRecovery(session);
        else if (!strcmp(word, "cutover")) rc = FX_SendCutOverMsg(session);
        else if (!strcmp(word, "cutdate")) {
            if (!(rc = FX_GetCutDate(session, &tm)))
                printf("%04d-%02d-%02d wday %d yday %d dst %d\n", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                       tm.tm_wday, tm.tm_yday, tm.tm_isdst);
        }
        else if (!strcmp(word, "is")) {
            printf("running %d signon %d switch %d recovery %d\n", FX_IsRunning(session), FX_IsSignOn(session),
                   FX_IsSwitch(session), FX_IsRecoveryMode(session));
        }
        else if (!strcmp(word, "threads")) { two_threads(); continue; }
        else if (!strcmp(word, "nulls")) { nulls(); continue; }
        else if (!strcmp(word, "pause")) { printf("pause\n"); fflush(stdout); if (getchar() == EOF) return 2; continue; }
        else return fprintf(stderr, "unknown word %s\n", word), 2;
        say(word, rc);
    }
    return 0;
}

/* What a program expects of its system calls, tried with SCTP sockets: each case is an argument.
 *
 * Ends well, or says on one line what is wrong. */
#include "case.h"

/* The cases, from the files beside this one. */
void addresses(void);
void forbidden(void);
void copies(void);
void closes_all(void);
void closes_quietly(void);
void broker_is_full(void);
void broker_is_silent(void);
void passing(void);
void forks(void);
void forks_of_threads(void);
void inherited(void);
void interruptions(void);
void limits(void);
void pipes(void);
void calls_of_handlers(void);
void jumps(void);
void childless(void);
void cancellation(void);
void many_threads(void);
void sharing(void);
void readiness(void);
void edges(void);
void transfers(void);
void drops(void);
void stranger(void);
void ping_pong(void);
void plain_pipe(void);
void execs(const char *self);

int main(int count, char **words) {
    static const struct named cases[] = {
        {"addresses", addresses},
        {"forbidden", forbidden},
        {"copies", copies},
        {"closes-all", closes_all},
        {"closes-quietly", closes_quietly},
        {"broker-is-full", broker_is_full},
        {"broker-is-silent", broker_is_silent},
        {"passing", passing},
        {"forks", forks},
        {"forks-of-threads", forks_of_threads},
        {"inherited", inherited},
        {"interruptions", interruptions},
        {"limits", limits},
        {"pipes", pipes},
        {"calls-of-handlers", calls_of_handlers},
        {"jumps", jumps},
        {"cancellation", cancellation},
        {"many-threads", many_threads},
        {"sharing", sharing},
        {"readiness", readiness},
        {"edges", edges},
        {"transfers", transfers},
        {"drops", drops},
        {"stranger", stranger},
        {"childless", childless},
        {"ping-pong", ping_pong},
        {"plain-pipe", plain_pipe},
    };
    if (count == 2 && strcmp(words[1], "execs") == 0) {
        execs(words[0]);
        return 0;
    }
    return run_named(cases, sizeof cases / sizeof *cases, count, words);
}

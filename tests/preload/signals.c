/* Signals that interrupt calls, and handlers that make them. */
#include "case.h"

static volatile sig_atomic_t caught;
static int handler_fd = -1;

static void on_signal(int signal) {
    (void)signal;
    caught++;
    if (handler_fd >= 0)
        send(handler_fd, "from the handler", 16, 0);
}

static void handle(int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = flags;
    sigaction(SIGALRM, &action, NULL);
}

static void alarms_ms(int ms, int again_ms) {
    struct itimerspec time = {{0, again_ms * 1000000L}, {0, ms * 1000000L}};
    static timer_t timer;
    static int made;
    if (!made++)
        CHECK(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0);
    CHECK(timer_settime(timer, 0, &time, NULL) == 0);
}

static void alarm_ms(int ms) {
    alarms_ms(ms, 0);
}

/* A call is interrupted. On a machine with much to do an alarm may come before the call waits: another follows. */
#define IS_INTERRUPTED(call)                                                                                           \
    do {                                                                                                               \
        int before_ = caught;                                                                                          \
        alarms_ms(100, 100);                                                                                           \
        FAILS(call, EINTR);                                                                                            \
        alarm_ms(0);                                                                                                   \
        CHECK(caught > before_);                                                                                       \
    } while (0)

static void *late(void *argument) {
    pause_ms(300);
    say(*(int *)argument, "late");
    return NULL;
}

void interruptions(void) {
    int ends[2];
    char byte;
    pair(ends);
    handle(0);
    IS_INTERRUPTED(recv(ends[0], &byte, 1, 0));
    int listening = listener(SOCK_STREAM);
    IS_INTERRUPTED(accept(listening, NULL, NULL));
    struct pollfd entry = {ends[0], POLLIN, 0};
    IS_INTERRUPTED(poll(&entry, 1, -1));
    fill(ends[0]);
    IS_INTERRUPTED(send(ends[0], &byte, 1, 0));
    int before = caught;
    /* Goes on, if the handler says so, ... */
    pair(ends);
    handle(SA_RESTART);
    alarm_ms(100);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, late, &ends[1]) == 0);
    hear(ends[0], "late");
    pthread_join(thread, NULL);
    CHECK(caught == before + 1);
    /* ... but not with a time limit (signal(7)). */
    struct timeval limit = {5, 0};
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    IS_INTERRUPTED(recv(ends[0], &byte, 1, 0));
}

void limits(void) {
    int ends[2];
    char byte = 0;
    pair(ends);
    struct timeval limit = {0, 200000};
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
    double begun = now();
    FAILS(recv(ends[0], &byte, 1, 0), EAGAIN);
    CHECK(now() - begun > 0.19 && now() - begun < 2);
    fill(ends[0]);
    begun = now();
    FAILS(send(ends[0], &byte, 1, 0), EAGAIN);
    CHECK(now() - begun > 0.19 && now() - begun < 2);
    begun = now();
    FAILS(recv(ends[0], &byte, 1, MSG_DONTWAIT), EAGAIN);
    int flag = 1;
    CHECK(ioctl(ends[0], FIONBIO, &flag) == 0);
    FAILS(recv(ends[0], &byte, 1, 0), EAGAIN);
    CHECK(now() - begun < 0.15);
    int listening = listener(SOCK_STREAM);
    CHECK(setsockopt(listening, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    begun = now();
    FAILS(accept(listening, NULL, NULL), EAGAIN);
    CHECK(now() - begun > 0.19);
    CHECK(fcntl(listening, F_SETFL, O_NONBLOCK) == 0);
    FAILS(accept(listening, NULL, NULL), EAGAIN);
}

void pipes(void) {
    int ends[2];
    pair(ends);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGPIPE, &action, NULL);
    CHECK(shutdown(ends[0], SHUT_WR) == 0);
    FAILS(send(ends[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK(caught == 0);
    FAILS(send(ends[0], "x", 1, 0), EPIPE);
    CHECK(caught == 1);
    FAILS(write(ends[0], "x", 1), EPIPE);
    CHECK(caught == 2);
}

void calls_of_handlers(void) {
    int ends[2], other[2];
    pair(ends);
    pair(other);
    handler_fd = other[0];
    handle(SA_RESTART);
    struct itimerspec time = {{0, 1000000}, {0, 1000000}};
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0 && timer_settime(timer, 0, &time, NULL) == 0);
    double begun = now();
    while (now() - begun < 1) {
        say(ends[0], "main");
        hear(ends[1], "main");
        free(malloc(100000));
        for (char text[64]; recv(other[1], text, sizeof text, MSG_DONTWAIT) > 0;)
            CHECK(memcmp(text, "from the handler", 16) == 0);
    }
    memset(&time, 0, sizeof time);
    timer_settime(timer, 0, &time, NULL);
    CHECK(caught > 10);
}

static sigjmp_buf back;

static void on_jump(int signal) {
    (void)signal;
    siglongjmp(back, 1);
}

void jumps(void) {
    int ends[2];
    char byte;
    pair(ends);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_jump;
    sigaction(SIGALRM, &action, NULL);
    for (volatile int round = 0; round < 30; round++) {
        alarm_ms(5);
        if (sigsetjmp(back, 1) == 0)
            for (;;)
                recv(ends[0], &byte, 1, round % 2 ? 0 : MSG_DONTWAIT);
    }
    say(ends[1], "sane");
    hear(ends[0], "sane");
}

/* No child, and no signal of one. */
void childless(void) {
    handle(0);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGCHLD, &action, NULL);
    int ends[2];
    pair(ends);
    say(ends[0], "alone");
    hear(ends[1], "alone");
    CHECK(caught == 0);
    FAILS(waitpid(-1, NULL, __WALL | WNOHANG), ECHILD);
}

/* Associations that end by themselves because nobody uses them, and such as were never up. */
#include "check.h"

#include <arpa/inet.h>
#include <limits.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

static char text[4096];

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* SCTP_AUTOCLOSE, where nobody ever sends: the time begins when the association is up, at either end. */
static void check_unused(int by_server)
{
    int server = bound(AF_INET, SOCK_SEQPACKET), client = bound(AF_INET, SOCK_SEQPACKET);
    struct sockaddr_storage to = loopback(AF_INET, 1, port_of(server));
    int ends[] = {server, client};
    double begun = seconds();
    WELL(set_int(ends[!by_server], IPPROTO_SCTP, SCTP_AUTOCLOSE, 1));
    for (int end = 0; end < 2; end++) {
        subscribe(ends[end], SCTP_ASSOC_CHANGE);
        subscribe(ends[end], SCTP_SHUTDOWN_EVENT);
    }
    WELL(listen(server, 1));
    WELL(connect(client, (struct sockaddr *)&to, length_of(&to)));
    for (int end = 0; end < 2; end++) {
        struct sctp_assoc_change *change = next_event(ends[end], SCTP_ASSOC_CHANGE, sizeof *change);
        IS(change->sac_state, SCTP_COMM_UP);
    }
    next_event(ends[by_server], SCTP_SHUTDOWN_EVENT, sizeof(struct sctp_shutdown_event));
    HOLDS(seconds() - begun > 0.9);
    for (int end = 0; end < 2; end++) {
        struct sctp_assoc_change *change = next_event(ends[end], SCTP_ASSOC_CHANGE, sizeof *change);
        IS(change->sac_state, SCTP_SHUTDOWN_COMP);
    }
    close(client);
    close(server);
}

/* Who reads what has come before does not use the association; who is sent something does. */
static void check_used(void)
{
    int server = bound(AF_INET, SOCK_SEQPACKET), client = bound(AF_INET, SOCK_STREAM), most = 0, reads = 0;
    struct sockaddr_storage to = loopback(AF_INET, 1, port_of(server));
    double sent;
    WELL(set_int(server, IPPROTO_SCTP, SCTP_AUTOCLOSE, -1));
    most = get_int(server, IPPROTO_SCTP, SCTP_AUTOCLOSE);
    HOLDS(most > 0 && most <= INT_MAX / 100);
    WELL(set_int(server, IPPROTO_SCTP, SCTP_AUTOCLOSE, 1));
    WELL(listen(server, 1));
    WELL(connect(client, (struct sockaddr *)&to, length_of(&to)));
    usleep(500000);
    sent = seconds();
    for (int k = 0; k < 200; k++)
        IS(send(client, "unread", 6, 0), 6);
    while (reads < 200 && !readable(client, 100)) {
        reads++;
        IS(recv(server, text, sizeof text, 0), 6);
    }
    HOLDS(reads < 200 && seconds() - sent > 0.9);
    IS(recv(client, text, sizeof text, 0), 0);
    close(client);
    close(server);
}

/* An address of the network at which nobody is, who would refuse. */
static struct sockaddr_storage silent(void)
{
    struct sockaddr_storage name = loopback(AF_INET, 1, 4711);
    inet_pton(AF_INET, "10.71.0.77", &((struct sockaddr_in *)&name)->sin_addr);
    return name;
}

static int begun(int type)
{
    int all[] = {SCTP_ASSOC_CHANGE, SCTP_SHUTDOWN_EVENT, SCTP_SEND_FAILED_EVENT};
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, IPPROTO_SCTP);
    struct sockaddr_storage to = silent();
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        subscribe(fd, all[k]);
    FAILS(connect(fd, (struct sockaddr *)&to, length_of(&to)), EINPROGRESS);
    return fd;
}

/* What is shut down before it was up has never been: nobody is told, and there is no error. */
static void check_never_up(void)
{
    struct sockaddr_storage to = silent();
    struct sctp_sndinfo end = {.snd_flags = SCTP_EOF}, info = {.snd_context = 7};
    int fd = begun(SOCK_STREAM);
    FAILS(shutdown(fd, SHUT_WR), ENOTCONN);
    IS(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
    HOLDS(!readable(fd, 0));
    FAILS(recv(fd, text, sizeof text, 0), EAGAIN);
    FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
    FAILS(connect(fd, (struct sockaddr *)&to, length_of(&to)), EISCONN);
    close(fd);

    fd = begun(SOCK_STREAM);
    FAILS(shutdown(fd, SHUT_RDWR), ENOTCONN);
    IS(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
    IS(recv(fd, text, sizeof text, 0), 0);
    close(fd);

    for (int messages = 0; messages < 2; messages++) {
        fd = begun(SOCK_SEQPACKET);
        IS(get_int(fd, IPPROTO_SCTP, SCTP_GET_ASSOC_NUMBER), 1);
        for (int k = 0; k < messages; k++)
            IS(send_with(fd, &to, "lost", 4, SCTP_SNDINFO, &info, sizeof info), 4);
        WELL(send_with(fd, &to, "", 0, SCTP_SNDINFO, &end, sizeof end));
        IS(get_int(fd, IPPROTO_SCTP, SCTP_GET_ASSOC_NUMBER), 0);
        IS(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
        for (int k = 0; k < messages; k++) {
            struct sctp_send_failed_event *failed = next_event(fd, SCTP_SEND_FAILED_EVENT, sizeof *failed + 4);
            IS(failed->ssf_error, 0);
            IS(failed->ssfe_info.snd_context, 7);
        }
        HOLDS(!readable(fd, 0));
        FAILS(recv(fd, text, sizeof text, 0), EAGAIN);
        /* It can begin anew. */
        FAILS(connect(fd, (struct sockaddr *)&to, length_of(&to)), EINPROGRESS);
        close(fd);
    }
}

/* Who waits for less than nothing does not wait. */
static void check_no_time(int type)
{
    struct timeval none = {.tv_sec = -1};
    struct sockaddr_storage to = silent();
    int fd = socket(AF_INET, type, IPPROTO_SCTP);
    WELL(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none));
    FAILS(connect(fd, (struct sockaddr *)&to, length_of(&to)), EINPROGRESS);
    FAILS(connect(fd, (struct sockaddr *)&to, length_of(&to)), EALREADY);
    close(fd);
}

static int waiting;

static void *wait_in_connect(void *error)
{
    struct sockaddr_storage to = silent();
    *(int *)error = connect(waiting, (struct sockaddr *)&to, length_of(&to)) < 0 ? errno : 0;
    return NULL;
}

/* Who waits in connect meanwhile learns that nothing comes of it, unless nothing is to be received either. */
static void check_waiting(int how, int wanted)
{
    pthread_t thread;
    int error = -1;
    waiting = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);
    IS(pthread_create(&thread, NULL, wait_in_connect, &error), 0);
    while (port_of(waiting) == 0)
        usleep(1000);
    usleep(50000);
    FAILS(shutdown(waiting, how), ENOTCONN);
    IS(pthread_join(thread, NULL), 0);
    IS(error, wanted);
    IS(get_int(waiting, SOL_SOCKET, SO_ERROR), 0);
    close(waiting);
}

void check_ending(void)
{
    check_unused(0);
    check_unused(1);
    check_used();
    check_never_up();
    check_no_time(SOCK_STREAM);
    check_no_time(SOCK_SEQPACKET);
    check_waiting(SHUT_WR, ECONNREFUSED);
    check_waiting(SHUT_RDWR, 0);
}

/* What poll says of sockets, from their making to their end, and what can be done with them then. */
#include "check.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* What poll says of a socket, of all that it can say: what is wanted as soon as that is so, and a little later. */
static int state_of(int fd, int wanted)
{
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};
    for (int tries = 0; tries < 500; tries++) {
        if (poll(&one, 1, 0) < 0 || one.revents == wanted)
            break;
        usleep(10000);
    }
    usleep(10000);
    WELL(poll(&one, 1, 0));
    return one.revents;
}

#define STATE(fd, wanted) IS(state_of(fd, wanted), wanted)

/* The same, as epoll says it. */
static int epoll_state_of(int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP};
    int epoll = epoll_create1(0);
    WELL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    event.events = 0;
    WELL(epoll_wait(epoll, &event, 1, 0));
    close(epoll);
    return event.events;
}

/* What ioctl tells of queues: an error, or that nothing is to be received and that more is not told. */
static void check_controls(int fd, int error)
{
    int waiting = 5;
    FAILS(ioctl(fd, SIOCINQ, &waiting), error);
    IS(waiting, error ? 5 : 0);
    FAILS(ioctl(fd, SIOCOUTQ, &waiting), error ? error : ENOTTY);
    FAILS(ioctl(fd, SIOCATMARK, &waiting), error ? error : ENOTTY);
}

/* Who sends over a socket that listens, and was refused before, is told of that once. */
static void check_late_error(int type)
{
    int fd = socket(AF_INET, type, IPPROTO_SCTP), other = bound(AF_INET, type);
    struct sockaddr_storage nobody = loopback(AF_INET, 1, port_of(other));
    close(other);
    WELL(fcntl(fd, F_SETFL, O_NONBLOCK));
    FAILS(connect(fd, (struct sockaddr *)&nobody, length_of(&nobody)), EINPROGRESS);
    usleep(300000);
    WELL(listen(fd, 1));
    FAILS(send(fd, "x", 1, MSG_NOSIGNAL), type == SOCK_STREAM ? ECONNREFUSED : EPIPE);
    FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
    close(fd);
}

/* Who waited in connect was told why it failed, and so is whoever asks next. */
static void check_refused(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP), other = bound(AF_INET, SOCK_STREAM);
    struct sockaddr_storage nobody = loopback(AF_INET, 1, port_of(other)), name;
    struct sockaddr *to = (void *)&nobody;
    socklen_t length = sizeof name;
    char got[8];
    close(other);
    FAILS(connect(fd, to, length_of(&nobody)), ECONNREFUSED);
    /* What it would have sent from. */
    WELL(getsockname(fd, (struct sockaddr *)&name, &length));
    IS(ntohl(((struct sockaddr_in *)&name)->sin_addr.s_addr), INADDR_LOOPBACK);
    IS(get_int(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    IS(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
    FAILS(connect(fd, to, length_of(&nobody)), ECONNREFUSED);
    FAILS(send(fd, "x", 1, MSG_NOSIGNAL), ECONNREFUSED);
    FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
    FAILS(connect(fd, to, length_of(&nobody)), ECONNREFUSED);
    FAILS(recv(fd, got, sizeof got, MSG_DONTWAIT), ECONNREFUSED);
    FAILS(recv(fd, got, sizeof got, MSG_DONTWAIT), EAGAIN);
    close(fd);
}

/* What has come for a socket that accept is to make yet is not the listener's, who may have tried to read before. */
static void check_early_data(void)
{
    int listener = bound(AF_INET, SOCK_STREAM), fd = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP), server;
    struct sockaddr_storage name = loopback(AF_INET, 1, port_of(listener));
    char got[8];
    WELL(listen(listener, 1));
    FAILS(recv(listener, got, sizeof got, MSG_DONTWAIT), ENOTCONN);
    WELL(connect(fd, (struct sockaddr *)&name, length_of(&name)));
    IS(send(fd, "early", 5, 0), 5);
    for (int tries = 0; tries < 5; tries++) {
        usleep(5000);
        FAILS(recv(listener, got, sizeof got, MSG_DONTWAIT), ENOTCONN);
    }
    WELL(server = accept(listener, NULL, NULL));
    IS(recv(server, got, sizeof got, 0), 5);
    close(server);
    close(listener);
    close(fd);
}

/* Before there is an association: not connected, listening, refused, shut down. */
static void check_beginning(int type)
{
    int fd = socket(AF_INET, type, IPPROTO_SCTP), other = bound(AF_INET, type);
    int free = type == SOCK_STREAM ? 0 : POLLOUT;
    struct sockaddr_storage nobody = loopback(AF_INET, 1, port_of(other));
    STATE(fd, free);
    STATE(other, free);
    check_controls(fd, 0);
    WELL(listen(other, 1));
    STATE(other, free);
    check_controls(other, type == SOCK_STREAM ? ENOTCONN : 0);
    WELL(shutdown(other, SHUT_WR));
    FAILS(shutdown(other, SHUT_RD), EOPNOTSUPP);
    FAILS(shutdown(other, SHUT_RDWR), EOPNOTSUPP);
    STATE(other, free);
    close(other);
    WELL(fcntl(fd, F_SETFL, O_NONBLOCK));
    FAILS(connect(fd, (struct sockaddr *)&nobody, length_of(&nobody)), EINPROGRESS);
    /* A local connection cannot say POLLERR: whoever looks what is there learns of the error. */
    if (type == SOCK_STREAM)
        STATE(fd, on_kernel ? POLLERR : POLLIN | POLLOUT);
    check_late_error(type);
    if (type == SOCK_STREAM) {
        check_refused();
        check_early_data();
    }
    IS(get_int(fd, SOL_SOCKET, SO_ERROR), type == SOCK_STREAM ? ECONNREFUSED : 0);
    STATE(fd, free);
    FAILS(shutdown(fd, SHUT_RD), ENOTCONN);
    STATE(fd, POLLIN | POLLRDHUP | free);
    FAILS(shutdown(fd, SHUT_WR), ENOTCONN);
    if (type == SOCK_STREAM || on_kernel)
        STATE(fd, POLLIN | POLLRDHUP | POLLHUP | free);
    close(fd);
    /* An address of loopback is none that another host could answer to. */
    struct sockaddr_in elsewhere = {.sin_family = AF_INET, .sin_port = htons(9)};
    elsewhere.sin_addr.s_addr = htonl(0xc0000201);
    fd = bound(AF_INET, type);
    WELL(fcntl(fd, F_SETFL, O_NONBLOCK));
    FAILS(connect(fd, (struct sockaddr *)&elsewhere, sizeof elsewhere), ENETUNREACH);
    close(fd);
}

static char text[100];

/* What remains of a one-to-one socket whose association has ended. */
static void check_remains(struct ends *ends)
{
    struct sockaddr_storage peer = loopback(AF_INET, 1, port_of(ends->listener)), name;
    socklen_t length = sizeof name;
    struct sctp_status status = {0};
    for (int tries = 0; tries < 500 && GET(ends->client, SCTP_STATUS, status) > 0; tries++)
        usleep(10000);
    WELL(getpeername(ends->client, (struct sockaddr *)&name, &length));
    WELL(getsockname(ends->client, (struct sockaddr *)&name, &length));
    FAILS(GET(ends->client, SCTP_STATUS, status), EINVAL);
    FAILS(send(ends->client, "x", 1, MSG_NOSIGNAL), EPIPE);
    FAILS(connect(ends->client, (struct sockaddr *)&peer, length_of(&peer)), EISCONN);
    FAILS(sendto(ends->client, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&peer, length_of(&peer)), EADDRNOTAVAIL);
    FAILS(listen(ends->client, 1), EINVAL);
    WELL(shutdown(ends->client, SHUT_RDWR));
    STATE(ends->client, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    IS(recv(ends->client, text, sizeof text, 0), 0);
    part(ends);
}

/* Each way of shutting down, and what has come before it. */
static void check_shutdown(void)
{
    struct ends ends = associate(AF_INET, SOCK_STREAM);
    STATE(ends.client, POLLOUT);
    IS(send(ends.server, "last", 4, 0), 4);
    WELL(shutdown(ends.client, SHUT_WR));
    STATE(ends.client, POLLIN | POLLOUT);
    STATE(ends.server, POLLIN | POLLOUT | POLLRDHUP);
    IS(epoll_state_of(ends.server), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    FAILS(send(ends.server, "x", 1, MSG_NOSIGNAL), EPIPE);
    IS(recv(ends.server, text, sizeof text, 0), 0);
    IS(recv(ends.client, text, sizeof text, 0), 4);
    STATE(ends.client, POLLOUT);
    FAILS(recv(ends.client, text, sizeof text, MSG_DONTWAIT), EAGAIN);
    WELL(shutdown(ends.server, SHUT_WR));
    IS(epoll_state_of(ends.server), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
    check_remains(&ends);

    ends = associate(AF_INET, SOCK_STREAM);
    IS(send(ends.server, "lost", 4, 0), 4);
    STATE(ends.client, POLLIN | POLLOUT);
    WELL(shutdown(ends.client, SHUT_RD));
    STATE(ends.client, POLLIN | POLLOUT | POLLRDHUP);
    IS(recv(ends.client, text, sizeof text, 0), 4);
    IS(send(ends.server, "thrown away", 11, 0), 11);
    STATE(ends.client, POLLIN | POLLOUT | POLLRDHUP);
    IS(recv(ends.client, text, sizeof text, 0), 0);
    IS(send(ends.client, "goes on", 7, 0), 7);
    STATE(ends.server, POLLIN | POLLOUT);
    WELL(shutdown(ends.client, SHUT_WR));
    STATE(ends.server, POLLIN | POLLOUT | POLLRDHUP);
    IS(recv(ends.server, text, sizeof text, 0), 7);
    check_remains(&ends);

    ends = associate(AF_INET, SOCK_STREAM);
    WELL(shutdown(ends.client, SHUT_RDWR));
    STATE(ends.client, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    STATE(ends.server, POLLIN | POLLOUT | POLLRDHUP);
    check_remains(&ends);
}

static char much[65536];

/* What has come before a socket is shut down for reading is read still, all of it. And what is to be sent yet keeps the
 * association from ending, but nothing is added to it. */
static void check_unread(void)
{
    struct ends ends = associate(AF_INET, SOCK_STREAM);
    struct sctp_status window = {0};
    IS(send(ends.server, "one", 3, 0), 3);
    IS(send(ends.server, "second", 6, 0), 6);
    usleep(50000);
    WELL(shutdown(ends.client, SHUT_RD));
    IS(send(ends.server, "thrown away", 11, 0), 11);
    IS(recv(ends.client, text, sizeof text, 0), 3);
    IS(recv(ends.client, text, sizeof text, 0), 6);
    IS(recv(ends.client, text, sizeof text, 0), 0);
    part(&ends);

    for (int by_peer = 0; by_peer < 2; by_peer++) {
        receive_buffer = 4096;
        ends = associate(AF_INET, SOCK_STREAM);
        receive_buffer = 0;
        WELL(GET(ends.client, SCTP_STATUS, window));
        IS(send(ends.client, much, window.sstat_rwnd, 0), window.sstat_rwnd);
        IS(send(ends.client, much, 1000, 0), 1000);
        IS(send(ends.client, much, 1000, 0), 1000);
        WELL(shutdown(by_peer ? ends.server : ends.client, SHUT_WR));
        usleep(20000);
        FAILS(send(ends.client, "x", 1, MSG_NOSIGNAL), ESHUTDOWN);
        part(&ends);
    }
}

/* Who closes a socket has all of it delivered that was sent, whatever comes meanwhile. */
static void check_undelivered(void)
{
    struct sctp_status window = {0};
    ssize_t sent, got = 0, length = -1;
    receive_buffer = 4096;
    struct ends ends = associate(AF_INET, SOCK_STREAM);
    receive_buffer = 0;
    WELL(GET(ends.client, SCTP_STATUS, window));
    sent = window.sstat_rwnd + 2000;
    IS(send(ends.client, much, window.sstat_rwnd, 0), window.sstat_rwnd);
    IS(send(ends.client, much, 1000, 0), 1000);
    IS(send(ends.client, much, 1000, 0), 1000);
    close(ends.client);
    IS(send(ends.server, "x", 1, 0), 1);
    usleep(20000);
    IS(send(ends.server, "y", 1, 0), 1);
    while (readable(ends.server, 5000) && (length = recv(ends.server, much, sizeof much, MSG_DONTWAIT)) > 0)
        got += length;
    IS(length, 0);
    IS(got, sent);
    close(ends.server);
    close(ends.listener);
}

/* The peer goes, or aborts. */
static void check_gone(void)
{
    struct linger abort = {.l_onoff = 1};
    struct ends ends = associate(AF_INET, SOCK_STREAM);
    close(ends.server);
    ends.server = ends.listener;
    STATE(ends.client, POLLIN | POLLOUT | POLLRDHUP);
    IS(recv(ends.client, text, sizeof text, 0), 0);
    IS(get_int(ends.client, SOL_SOCKET, SO_ERROR), 0);
    check_remains(&ends);

    ends = associate(AF_INET, SOCK_STREAM);
    WELL(setsockopt(ends.server, SOL_SOCKET, SO_LINGER, &abort, sizeof abort));
    WELL(close(ends.server));
    ends.server = ends.listener;
    STATE(ends.client, on_kernel ? POLLERR | POLLOUT : POLLIN | POLLOUT);
    FAILS(recv(ends.client, text, sizeof text, 0), ECONNRESET);
    STATE(ends.client, POLLOUT);
    FAILS(recv(ends.client, text, sizeof text, MSG_DONTWAIT), EAGAIN);
    FAILS(recv(ends.client, text, sizeof text, 0), ENOTCONN);
    check_remains(&ends);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* SO_LINGER: close waits until the association has ended, or for so long. */
static void check_lingering(void)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 5};
    struct sctp_status window = {0};
    struct ends ends = associate(AF_INET, SOCK_STREAM);
    double begun = seconds();
    WELL(setsockopt(ends.client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    IS(send(ends.client, "all of it", 9, 0), 9);
    WELL(close(ends.client));
    HOLDS(seconds() - begun < 2);
    IS(recv(ends.server, text, sizeof text, MSG_DONTWAIT), 9);
    IS(recv(ends.server, text, sizeof text, MSG_DONTWAIT), 0);
    ends.client = ends.listener;
    part(&ends);

    /* The peer's window is shut, so that there is no end. */
    receive_buffer = 4096;
    ends = associate(AF_INET, SOCK_STREAM);
    receive_buffer = 0;
    linger.l_linger = 1;
    WELL(setsockopt(ends.client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    WELL(GET(ends.client, SCTP_STATUS, window));
    IS(send(ends.client, much, window.sstat_rwnd, 0), window.sstat_rwnd);
    IS(send(ends.client, much, 1000, 0), 1000);
    IS(send(ends.client, much, 1000, 0), 1000);
    begun = seconds();
    int copy = dup(ends.client);
    WELL(close(copy));
    HOLDS(seconds() - begun < 0.5);
    WELL(close(ends.client));
    HOLDS(seconds() - begun > 0.9 && seconds() - begun < 3);
    ends.client = ends.listener;
    part(&ends);
}

/* A socket that was peeled off knows of no end but an error. */
static void check_peeled_off(void)
{
    struct ends ends = associate(AF_INET, SOCK_SEQPACKET);
    struct sctp_sndinfo end = {.snd_assoc_id = ends.at_client, .snd_flags = SCTP_EOF};
    int own = sctp_peeloff(ends.server, ends.at_server);
    STATE(own, POLLOUT);
    WELL(send_with(ends.client, NULL, "", 0, SCTP_SNDINFO, &end, sizeof end));
    STATE(own, POLLOUT);
    FAILS(recv(own, text, sizeof text, MSG_DONTWAIT), EAGAIN);
    WELL(shutdown(own, SHUT_RD));
    STATE(own, POLLIN | POLLOUT | POLLRDHUP);
    IS(recv(own, text, sizeof text, 0), 0);
    close(own);
    part(&ends);
}

/* Who waits for less than nothing does not wait. */
static void check_no_time(int type)
{
    struct timeval none = {.tv_sec = -1};
    struct ends ends = associate(AF_INET, type);
    int fd = ends.client;
    WELL(setsockopt(ends.server, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none));
    FAILS(recv(ends.server, text, sizeof text, 0), EAGAIN);
    if (type == SOCK_STREAM) {
        WELL(setsockopt(ends.listener, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none));
        FAILS(accept(ends.listener, NULL, NULL), EAGAIN);
        WELL(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none));
        for (int k = 0; k < 1000 && send(fd, much, sizeof much, MSG_NOSIGNAL) > 0; k++)
            ;
        FAILS(send(fd, much, sizeof much, MSG_NOSIGNAL), EAGAIN);
    }
    part(&ends);
}

void check_polling(int type)
{
    check_beginning(type);
    check_no_time(type);
    if (type == SOCK_STREAM) {
        check_shutdown();
        check_unread();
        check_undelivered();
        check_gone();
        check_lingering();
    } else {
        check_peeled_off();
    }
}

/* What poll says of sockets, from their making to their end, and what can be done with them then. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
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

/* Before there is an association: not connected, listening, refused, shut down. */
static void check_beginning(int type)
{
    int fd = socket(AF_INET, type, IPPROTO_SCTP), other = bound(AF_INET, type);
    int free = type == SOCK_STREAM ? 0 : POLLOUT;
    struct sockaddr_storage nobody = loopback(AF_INET, 1, port_of(other));
    STATE(fd, free);
    STATE(other, free);
    WELL(listen(other, 1));
    STATE(other, free);
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
    IS(get_int(fd, SOL_SOCKET, SO_ERROR), type == SOCK_STREAM ? ECONNREFUSED : 0);
    STATE(fd, free);
    FAILS(shutdown(fd, SHUT_RD), ENOTCONN);
    STATE(fd, POLLIN | POLLRDHUP | free);
    FAILS(shutdown(fd, SHUT_WR), ENOTCONN);
    if (type == SOCK_STREAM || on_kernel)
        STATE(fd, POLLIN | POLLRDHUP | POLLHUP | free);
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

static char much[65536];

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

void check_polling(int type)
{
    check_beginning(type);
    if (type == SOCK_STREAM) {
        check_shutdown();
        check_gone();
        check_lingering();
    } else {
        check_peeled_off();
    }
}

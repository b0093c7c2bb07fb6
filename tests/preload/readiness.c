/* What poll, select and epoll say. */
#include "case.h"

static int epoll_of(int fd, int events) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {events, {.fd = fd}};
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    return epoll;
}

static int events_of(int epoll, int timeout) {
    struct epoll_event event = {0, {.fd = 0}};
    int count = epoll_wait(epoll, &event, 1, timeout);
    CHECK(count >= 0);
    return count ? (int)event.events : 0;
}

void readiness(void) {
    int fresh = socket(AF_INET, SOCK_STREAM, SCTP);
    CHECK(revents(fresh, POLLIN | POLLOUT, 0) == 0);
    int listening = listener(SOCK_STREAM), port = port_of(listening);
    CHECK(revents(listening, POLLIN | POLLOUT, 0) == 0);
    int client = joined(port);
    CHECK(revents(client, POLLIN | POLLOUT, 0) == POLLOUT);
    CHECK(revents(listening, POLLIN, 2000) == POLLIN);
    int server = accept(listening, NULL, NULL);
    CHECK(server >= 0 && revents(listening, POLLIN, 0) == 0);
    for (int round = 0; round < 300; round++) {
        say(client, "ready");
        CHECK(revents(server, POLLIN, 2000) == POLLIN);
        hear(server, "ready");
        CHECK(revents(server, POLLIN, 0) == 0);
    }
    /* Until it is full, and from when it is not. */
    fill(client);
    CHECK(revents(client, POLLOUT, 0) == 0);
    char block[8192];
    fd_set set;
    int reads = 0;
    for (;;) {
        struct timeval none = {0, 0};
        FD_ZERO(&set);
        FD_SET(client, &set);
        if (select(client + 1, NULL, &set, NULL, &none) == 1)
            break;
        CHECK(recv(server, block, sizeof block, 0) > 0 && reads++ < 10000);
    }
    CHECK(send(client, block, 1, MSG_DONTWAIT) == 1);
    while (recv(server, block, sizeof block, 0) != 1)
        ;
    /* Nothing more will come. */
    CHECK(shutdown(client, SHUT_WR) == 0);
    CHECK(revents(server, POLLIN | POLLRDHUP, 2000) == (POLLIN | POLLRDHUP));
    CHECK(recv(server, block, 1, 0) == 0);
    CHECK(revents(server, POLLIN | POLLRDHUP, 0) == (POLLIN | POLLRDHUP));
    /* Nobody is there. */
    int refused = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, SCTP);
    close(listening);
    struct sockaddr_in name = loopback(port);
    FAILS(connect(refused, (void *)&name, sizeof name), EINPROGRESS);
    CHECK(revents(refused, POLLOUT, 3000) & (POLLOUT | POLLERR));
    int error = 0;
    socklen_t length = sizeof error;
    CHECK(getsockopt(refused, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == ECONNREFUSED);
}

void edges(void) {
    int ends[2];
    pair(ends);
    int level = epoll_of(ends[1], EPOLLIN), edge = epoll_of(ends[1], EPOLLIN | EPOLLET);
    CHECK(events_of(level, 0) == 0 && events_of(edge, 0) == 0);
    for (int round = 0; round < 100; round++) {
        say(ends[0], "edge");
        CHECK(events_of(edge, 2000) == EPOLLIN);
        CHECK(events_of(edge, 0) == 0);
        CHECK(events_of(level, 0) == EPOLLIN && events_of(level, 0) == EPOLLIN);
        /* Another one, although nobody has read the first. */
        say(ends[0], "more");
        CHECK(events_of(edge, 2000) == EPOLLIN);
        hear(ends[1], "edge");
        CHECK(events_of(level, 0) == EPOLLIN);
        hear(ends[1], "more");
        CHECK(events_of(level, 0) == 0);
    }
    /* One message at each edge, though more are there: each has told. */
    for (int round = 0; round < 50; round++) {
        say(ends[0], "step");
        CHECK(events_of(edge, 2000) == EPOLLIN);
        if (round >= 5)
            hear(ends[1], "step");
    }
    int writable = epoll_of(ends[0], EPOLLOUT | EPOLLET);
    CHECK(events_of(writable, 0) == EPOLLOUT && events_of(writable, 0) == 0);
    fill(ends[0]);
    CHECK(events_of(writable, 0) == 0);
    char block[8192];
    while (recv(ends[1], block, sizeof block, MSG_DONTWAIT) > 0)
        ;
    CHECK(events_of(writable, 2000) == EPOLLOUT);
}

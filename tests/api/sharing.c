/* Sockets that have a port together: SO_REUSEADDR, SCTP_REUSE_PORT and SO_REUSEPORT. */
#include "check.h"

#include <poll.h>
#include <unistd.h>

enum { CLIENTS = 16, NONE = -1 };

/* Binds a new socket that wants to share as an option of SOL_SOCKET says, or SCTP_REUSE_PORT; returns it, and how bind went. */
static int open_at(int type, int option, int port, int *went)
{
    struct sockaddr_storage name = loopback(AF_INET, 1, port);
    int fd = socket(AF_INET, type, IPPROTO_SCTP);
    if (option == SCTP_REUSE_PORT)
        WELL(set_int(fd, IPPROTO_SCTP, SCTP_REUSE_PORT, 1));
    else if (option != NONE)
        WELL(set_int(fd, SOL_SOCKET, option, 1));
    errno = 0;
    *went = bind(fd, (struct sockaddr *)&name, length_of(&name)) == 0 ? 0 : errno;
    return fd;
}

/* Whether a socket that shares as OPTION says can be bound beside others: 0 or errno. */
static int try_at(int type, int option, int port)
{
    int went, fd = open_at(type, option, port, &went);
    close(fd);
    return went;
}

/* Both allow it: several are bound, and one listens. */
static void check_reuse(int type, int one, int other)
{
    int went, first = open_at(type, one, 0, &went), second, port = port_of(first);
    IS(went, 0);
    IS(try_at(type, NONE, port), EADDRINUSE);
    second = open_at(type, other, port, &went);
    IS(went, 0);
    WELL(listen(first, 5));
    FAILS(listen(second, 5), EADDRINUSE);
    IS(try_at(type, other, port), EADDRINUSE);
    WELL(listen(first, 0));
    WELL(listen(second, 5));
    FAILS(listen(first, 5), EADDRINUSE);
    close(second);
    WELL(listen(first, 5));
    close(first);
    IS(try_at(type, NONE, port), 0);
    /* One of them alone is not enough. */
    first = open_at(type, NONE, port, &went);
    IS(went, 0);
    IS(try_at(type, one, port), EADDRINUSE);
    close(first);
}

static int connected(int port)
{
    struct sockaddr_storage name = loopback(AF_INET, 1, port);
    int fd = bound(AF_INET, SOCK_STREAM);
    WELL(connect(fd, (struct sockaddr *)&name, length_of(&name)));
    return fd;
}

/* How many wait at a listener, taken and closed. */
static int take_all(int listener)
{
    int count = 0;
    while (readable(listener, 300)) {
        close(accept(listener, NULL, NULL));
        count++;
    }
    return count;
}

/* With SO_REUSEPORT several listen, and each peer is one's. */
static void check_listeners(void)
{
    int went, first = open_at(SOCK_STREAM, SO_REUSEPORT, 0, &went), port = port_of(first), clients[CLIENTS];
    int second = open_at(SOCK_STREAM, SO_REUSEPORT, port, &went), at_first, at_second;
    IS(went, 0);
    IS(try_at(SOCK_STREAM, SO_REUSEADDR, port), EADDRINUSE);
    WELL(listen(first, CLIENTS));
    WELL(listen(second, CLIENTS));
    IS(try_at(SOCK_STREAM, SO_REUSEADDR, port), EADDRINUSE);
    IS(try_at(SOCK_STREAM, SO_REUSEPORT, port), 0);
    for (int at = 0; at < CLIENTS; at++)
        clients[at] = connected(port);
    at_first = take_all(first);
    at_second = take_all(second);
    IS(at_first + at_second, CLIENTS);
    HOLDS(at_first > 0 && at_second > 0);
    for (int at = 0; at < CLIENTS; at++)
        close(clients[at]);
    /* One goes: the other takes all. */
    close(first);
    for (int at = 0; at < CLIENTS; at++)
        clients[at] = connected(port);
    IS(take_all(second), CLIENTS);
    for (int at = 0; at < CLIENTS; at++)
        close(clients[at]);
    close(second);
}

/* A server that begins anew beside associations of the old one. */
static void check_again(void)
{
    int went, listener = open_at(SOCK_STREAM, SO_REUSEADDR, 0, &went), port = port_of(listener), client, server;
    WELL(listen(listener, 5));
    client = connected(port);
    WELL(server = accept(listener, NULL, NULL));
    close(listener);
    IS(try_at(SOCK_STREAM, NONE, port), EADDRINUSE);
    listener = open_at(SOCK_STREAM, SO_REUSEADDR, port, &went);
    IS(went, 0);
    WELL(listen(listener, 5));
    close(connected(port));
    IS(take_all(listener), 1);
    IS(send(client, "on", 2, 0), 2);
    HOLDS(readable(server, 5000));
    close(client);
    close(server);
    close(listener);
}

void check_sharing(int type)
{
    check_reuse(type, SO_REUSEADDR, SO_REUSEADDR);
    if (type != SOCK_STREAM)
        return;
    check_reuse(type, SCTP_REUSE_PORT, SCTP_REUSE_PORT);
    check_reuse(type, SO_REUSEADDR, SCTP_REUSE_PORT);
    check_listeners();
    check_again();
}

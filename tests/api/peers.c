/* Calls that name a peer: what they say of addresses that no peer can have; and which addresses a peer on this host
 * has. */
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <unistd.h>

/* Nobody's. The fourth was the anycast address of 6to4 relays (RFC 7526). */
static const char *const nobody[] = {"0.0.0.0", "255.255.255.255", "224.0.0.1", "192.88.99.1"};
/* The last two of IPv4 in IPv6; a link-local address says nothing without its link. */
static const char *const nobody6[] = {"::", "ff02::1", "fe80::1", "::ffff:0.0.0.0", "::ffff:224.0.0.1"};

static struct sockaddr_storage at(const char *text, int port)
{
    struct sockaddr_storage name = {0};
    struct sockaddr_in *v4 = (void *)&name;
    struct sockaddr_in6 *v6 = (void *)&name;
    name.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    v4->sin_port = htons(port);
    inet_pton(name.ss_family, text, name.ss_family == AF_INET ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr);
    return name;
}

static int unconnected(int family, int type)
{
    int fd = socket(family, type | SOCK_NONBLOCK, IPPROTO_SCTP);
    WELL(fd);
    return fd;
}

/* None of the calls takes it, whether there is a peer already or not. */
static void check_refused(const struct ends *ends, int family, int type, const char *text)
{
    struct sockaddr_storage name = at(text, 4711);
    struct sockaddr *to = (void *)&name;
    socklen_t length = length_of(&name);
    int fd = unconnected(family, type);
    FAILS(connect(fd, to, length), EINVAL);
    FAILS(sctp_connectx(fd, to, 1, NULL), EINVAL);
    FAILS(sendto(fd, "x", 1, MSG_NOSIGNAL, to, length), EINVAL);
    close(fd);
    FAILS(sendto(ends->client, "x", 1, MSG_NOSIGNAL, to, length), EINVAL);
    FAILS(sctp_sendmsg(ends->client, "x", 1, to, length, 0, SCTP_ADDR_OVER, 0, 0, 0), EINVAL);
    FAILS(connect(ends->client, to, length), type == SOCK_STREAM ? EISCONN : EINVAL);
}

static void check_nobody(int type)
{
    struct ends ends = associate(AF_INET, type);
    for (size_t k = 0; k < sizeof nobody / sizeof *nobody; k++)
        check_refused(&ends, AF_INET, type, nobody[k]);
    part(&ends);
    ends = associate(AF_INET6, type);
    for (size_t k = 0; k < sizeof nobody6 / sizeof *nobody6; k++)
        check_refused(&ends, AF_INET6, type, nobody6[k]);
    part(&ends);
}

/* What is no name of a peer for other reasons. */
static void check_names(int type)
{
    struct sockaddr_storage six = at("::1", 4711), none = {.ss_family = AF_UNSPEC};
    struct sockaddr *to = (void *)&six;
    struct ends ends = associate(AF_INET, type);
    int fd = unconnected(AF_INET, type), only = unconnected(AF_INET6, type);
    FAILS(connect(fd, to, length_of(&six)), EINVAL);
    FAILS(connect(ends.client, to, length_of(&six)), type == SOCK_STREAM ? EISCONN : EINVAL);
    FAILS(connect(ends.client, to, length_of(&six) - 1), EINVAL);
    /* Nothing is dissolved. */
    FAILS(connect(fd, (struct sockaddr *)&none, sizeof none), EOPNOTSUPP);
    FAILS(connect(ends.client, (struct sockaddr *)&none, sizeof none), EOPNOTSUPP);
    FAILS(connect(fd, (struct sockaddr *)&none, 1), EINVAL);
    FAILS(sendto(fd, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&none, sizeof none), EINVAL);
    WELL(set_int(only, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    six = at("::ffff:127.0.0.1", 4711);
    FAILS(connect(only, to, length_of(&six)), EINVAL);
    FAILS(sendto(only, "x", 1, MSG_NOSIGNAL, to, length_of(&six)), EINVAL);
    close(fd);
    close(only);
    part(&ends);
}

/* Nobody listens at port 0: who connects there is refused as by any host. */
static void check_nowhere(int type)
{
    struct sockaddr_storage nowhere = at("127.0.0.1", 0);
    struct sockaddr *to = (void *)&nowhere;
    struct sctp_event up = {.se_type = SCTP_ASSOC_CHANGE, .se_on = 1};
    struct sctp_assoc_change *change;
    int fd = unconnected(AF_INET, type), error = type == SOCK_STREAM ? ECONNREFUSED : 0;
    WELL(SET(fd, SCTP_EVENT, up));
    FAILS(connect(fd, to, length_of(&nowhere)), EINPROGRESS);
    change = next_event(fd, SCTP_ASSOC_CHANGE, 20);
    IS(change->sac_state, SCTP_CANT_STR_ASSOC);
    IS(change->sac_assoc_id, 0);
    IS(get_int(fd, SOL_SOCKET, SO_ERROR), error);
    IS(sendto(fd, "x", 1, MSG_NOSIGNAL, to, length_of(&nowhere)), 1);
    next_event(fd, SCTP_ASSOC_CHANGE, 20);
    IS(get_int(fd, SOL_SOCKET, SO_ERROR), error);
    WELL(fcntl(fd, F_SETFL, 0));
    FAILS(connect(fd, to, length_of(&nowhere)), ECONNREFUSED);
    FAILS(sctp_connectx(fd, to, 1, NULL), ECONNREFUSED);
    close(fd);
}

/* How many IPv4 addresses this host has. */
static int count_addresses(void)
{
    struct ifaddrs *all;
    int count = 0;
    WELL(getifaddrs(&all));
    for (struct ifaddrs *one = all; one; one = one->ifa_next)
        count += one->ifa_addr && one->ifa_addr->sa_family == AF_INET && (one->ifa_flags & IFF_UP);
    freeifaddrs(all);
    return count;
}

/* Waits until a path is confirmed. */
static int is_confirmed(int fd, sctp_assoc_t number, const struct sockaddr_in *address)
{
    struct sctp_paddrinfo info = {.spinfo_assoc_id = number};
    for (int tries = 0; tries < 500; tries++) {
        memcpy(&info.spinfo_address, address, sizeof *address);
        IS(GET(fd, SCTP_GET_PEER_ADDR_INFO, info), sizeof info);
        if (info.spinfo_state == SCTP_ACTIVE)
            return 1;
        usleep(10000);
    }
    return 0;
}

/* Who is bound to no address in particular has all of the host's, also for a peer on this host. */
static void check_all_addresses(int type)
{
    struct sockaddr_in any = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    int server = socket(AF_INET, type, IPPROTO_SCTP), client = socket(AF_INET, type, IPPROTO_SCTP), host;
    struct sockaddr *list;
    sctp_assoc_t number = 0;
    char got[8];
    WELL(bind(server, (struct sockaddr *)&any, sizeof any));
    WELL(listen(server, 5));
    to.sin_port = htons(port_of(server));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    WELL(sctp_connectx(client, (struct sockaddr *)&to, 1, &number));
    host = count_addresses();
    HOLDS(host > 1);
    IS(sctp_getpaddrs(client, number, &list), host);
    for (int k = 0; k < host; k++) {
        const struct sockaddr_in *address = (struct sockaddr_in *)list + k;
        struct sctp_prim primary = {.ssp_assoc_id = number};
        IS(address->sin_family, AF_INET);
        IS(ntohs(address->sin_port), port_of(server));
        HOLDS(is_confirmed(client, number, address));
        /* Each of them leads there. */
        memcpy(&primary.ssp_addr, address, sizeof *address);
        WELL(SET(client, SCTP_PRIMARY_ADDR, primary));
        IS(sendto(client, "there", 5, 0, (struct sockaddr *)address, sizeof *address), 5);
    }
    sctp_freepaddrs(list);
    if (type == SOCK_STREAM) {
        int accepted = accept(server, NULL, NULL);
        WELL(accepted);
        close(server);
        server = accepted;
    }
    for (int k = 0; k < host; k++)
        IS(recv(server, got, sizeof got, 0), 5);
    close(client);
    if (type == SOCK_STREAM) {
        /* The name outlives the association. */
        socklen_t length = sizeof any;
        IS(recv(server, got, sizeof got, 0), 0);
        WELL(getsockname(server, (struct sockaddr *)&any, &length));
        IS(ntohl(any.sin_addr.s_addr), INADDR_LOOPBACK);
    }
    close(server);
}

/* A listener at the wildcard of a family. */
static int listening(int family, int type, int only, int port)
{
    struct sockaddr_storage name = at(family == AF_INET ? "0.0.0.0" : "::", port);
    int fd = socket(family, type, IPPROTO_SCTP);
    if (family == AF_INET6)
        WELL(set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, only));
    if (bind(fd, (struct sockaddr *)&name, length_of(&name)) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    WELL(listen(fd, 5));
    return fd;
}

static int reach(int type, const char *text, int port)
{
    struct sockaddr_storage name = at(text, port);
    int fd = socket(name.ss_family, type, IPPROTO_SCTP), went;
    went = connect(fd, (struct sockaddr *)&name, length_of(&name)) < 0 ? errno : 0;
    close(fd);
    return went;
}

/* The wildcard of one family alone leaves the other family's port free, and its peers are refused at once. */
static void check_families(int type)
{
    int four = listening(AF_INET, type, 0, 0), port = port_of(four), six;
    IS(reach(type, "127.0.0.1", port), 0);
    IS(reach(type, "::1", port), ECONNREFUSED);
    FAILS(listening(AF_INET6, type, 0, port), EADDRINUSE);
    WELL(six = listening(AF_INET6, type, 1, port));
    IS(reach(type, "::1", port), 0);
    if (type == SOCK_STREAM)
        HOLDS(readable(four, 1000) && readable(six, 1000));
    close(four);
    IS(reach(type, "127.0.0.1", port), ECONNREFUSED);
    IS(reach(type, "::1", port), 0);
    FAILS(listening(AF_INET6, type, 0, port), EADDRINUSE);
    close(six);
}

void check_peers(int type)
{
    check_families(type);
    check_nobody(type);
    check_names(type);
    check_nowhere(type);
    check_all_addresses(type);
}

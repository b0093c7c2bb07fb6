/* Every function and option of the socket API (RFC 6458, sctp(7)), against what Linux answers. Says "ok PART CHECKS"
 * for each part, and each check that failed. With --kernel it expects what Linux's own SCTP has more; with --tag NAME
 * it says all as the laboratory's peers do. */
#include "check.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

int checks, failures, on_kernel, receive_buffer;
static const char *tag;

void report(int ok, const char *file, int line, const char *what, const char *wanted, const char *got)
{
    checks++;
    if (ok)
        return;
    failures++;
    if (tag)
        printf("@%s event=failed at=%s:%d call=%s wanted=%s got=%s\n", tag, file, line, what, wanted, got);
    else
        printf("failed %s:%d %s: wanted %s, got %s\n", file, line, what, wanted, got);
}

const char *name_of(int error)
{
    static char text[2][64];
    static int turn;
    turn = !turn;
    snprintf(text[turn], sizeof text[turn], "%s", error ? strerrorname_np(error) : "success");
    return text[turn];
}

void check_value(long got, long wanted, const char *file, int line, const char *what)
{
    char left[32], right[32];
    snprintf(left, sizeof left, "%ld", wanted);
    snprintf(right, sizeof right, "%ld", got);
    report(got == wanted, file, line, what, left, right);
}

void check_errno(long got, int wanted, const char *file, int line, const char *what)
{
    int error = got < 0 ? errno : 0;
    report(error == wanted, file, line, what, name_of(wanted), name_of(error));
}

int get_option(int fd, int level, int option, void *value, socklen_t len)
{
    return getsockopt(fd, level, option, value, &len) < 0 ? -1 : (int)len;
}

int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

int get_int(int fd, int level, int option)
{
    int value = 0;
    return get_option(fd, level, option, &value, sizeof value) < 0 ? -1 : value;
}

struct sockaddr_storage loopback(int family, int host, int port)
{
    struct sockaddr_storage address = {0};
    address.ss_family = family;
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (void *)&address;
        v4->sin_port = htons(port);
        v4->sin_addr.s_addr = htonl(0x7f000000 + host);
    } else {
        struct sockaddr_in6 *v6 = (void *)&address;
        v6->sin6_port = htons(port);
        v6->sin6_addr = in6addr_loopback;
    }
    return address;
}

socklen_t length_of(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

int bound(int family, int type)
{
    int fd = socket(family, type, IPPROTO_SCTP);
    struct sockaddr_storage name = loopback(family, 1, 0);
    WELL(fd);
    WELL(bind(fd, (struct sockaddr *)&name, length_of(&name)));
    return fd;
}

int port_of(int fd)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    WELL(getsockname(fd, (struct sockaddr *)&name, &len));
    return ntohs(((struct sockaddr_in *)&name)->sin_port);
}

int readable(int fd, int millis)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, millis) == 1;
}

/* The number of the association that comes up. */
static sctp_assoc_t number_of(int fd)
{
    char buffer[512];
    struct sctp_assoc_change *change = (void *)buffer;
    if (!readable(fd, 5000) || recv(fd, buffer, sizeof buffer, 0) < (ssize_t)sizeof *change)
        return 0;
    IS(change->sac_type, SCTP_ASSOC_CHANGE);
    IS(change->sac_state, SCTP_COMM_UP);
    return change->sac_assoc_id;
}

struct ends associate(int family, int type)
{
    struct ends ends = {.listener = bound(family, type), .client = bound(family, type)};
    struct sockaddr_storage name = loopback(family, 1, port_of(ends.listener));
    struct sctp_event up = {.se_type = SCTP_ASSOC_CHANGE, .se_on = 1};
    WELL(SET(ends.listener, SCTP_EVENT, up));
    WELL(SET(ends.client, SCTP_EVENT, up));
    if (receive_buffer)
        WELL(set_int(ends.listener, SOL_SOCKET, SO_RCVBUF, receive_buffer));
    WELL(listen(ends.listener, 5));
    WELL(connect(ends.client, (struct sockaddr *)&name, length_of(&name)));
    ends.server = ends.listener;
    if (type == SOCK_STREAM)
        WELL(ends.server = accept(ends.listener, NULL, NULL));
    ends.at_client = number_of(ends.client);
    ends.at_server = number_of(ends.server);
    HOLDS(ends.at_client > 2 && ends.at_server > 2);
    /* From now on only what is asked for. */
    up.se_on = 0;
    up.se_assoc_id = type == SOCK_STREAM ? 0 : SCTP_ALL_ASSOC;
    WELL(SET(ends.server, SCTP_EVENT, up));
    WELL(SET(ends.client, SCTP_EVENT, up));
    return ends;
}

void part(struct ends *ends)
{
    close(ends->client);
    if (ends->server != ends->listener)
        close(ends->server);
    close(ends->listener);
}

static void run(const char *part, void (*body)(int), int argument)
{
    int before = checks, bad = failures;
    alarm(60);
    body(argument);
    if (tag)
        printf("@%s event=part name=%s checks=%d\n", tag, part, checks - before);
    else
        printf("%s %s %d\n", failures == bad ? "ok" : "not-ok", part, checks - before);
    fflush(stdout);
}

static void alone(int unused, void (*body)(void))
{
    (void)unused;
    body();
}

static void events(int unused)
{
    alone(unused, check_events);
}

static void endings(int unused)
{
    alone(unused, check_endings);
}

static void sending(int unused)
{
    alone(unused, check_sending);
}

static void ending(int unused)
{
    alone(unused, check_ending);
}

static void functions(int unused)
{
    alone(unused, check_functions);
}

int main(int count, char **words)
{
    /* What a check says is seen even if the next one never ends. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int at = 1; at < count; at++) {
        on_kernel |= !strcmp(words[at], "--kernel");
        if (!strcmp(words[at], "--tag") && at + 1 < count)
            tag = words[++at];
    }
    run("socket-options-one-to-one", check_socket_options, SOCK_STREAM);
    run("socket-options-one-to-many", check_socket_options, SOCK_SEQPACKET);
    run("ip-options", check_ip_options, AF_INET);
    run("ipv6-options", check_ip_options, AF_INET6);
    run("association-options-one-to-one", check_association_options, SOCK_STREAM);
    run("association-options-one-to-many", check_association_options, SOCK_SEQPACKET);
    run("path-options-one-to-one", check_path_options, SOCK_STREAM);
    run("path-options-one-to-many", check_path_options, SOCK_SEQPACKET);
    run("extensions-one-to-one", check_extensions, SOCK_STREAM);
    run("extensions-one-to-many", check_extensions, SOCK_SEQPACKET);
    run("messages-one-to-one", check_messages, SOCK_STREAM);
    run("messages-one-to-many", check_messages, SOCK_SEQPACKET);
    run("events", events, 0);
    run("endings", endings, 0);
    run("functions", functions, 0);
    run("polling-one-to-one", check_polling, SOCK_STREAM);
    run("polling-one-to-many", check_polling, SOCK_SEQPACKET);
    run("sending", sending, 0);
    run("ending", ending, 0);
    run("partial-delivery-one-to-one", check_partial, SOCK_STREAM);
    run("partial-delivery-one-to-many", check_partial, SOCK_SEQPACKET);
    run("sharing-one-to-one", check_sharing, SOCK_STREAM);
    run("sharing-one-to-many", check_sharing, SOCK_SEQPACKET);
    run("peers-one-to-one", check_peers, SOCK_STREAM);
    run("peers-one-to-many", check_peers, SOCK_SEQPACKET);
    if (tag)
        printf("@%s event=done checks=%d failures=%d\n", tag, checks, failures);
    else
        printf("checks %d failures %d\n", checks, failures);
    return failures != 0;
}

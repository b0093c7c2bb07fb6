/* Sending, receiving, what goes with messages, notifications, ends, and the functions of libsctp. */
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MANY(type) ((type) == SOCK_SEQPACKET)

/* A message that was received, and what came with it. */
struct got {
    ssize_t length;
    int flags;
    char data[2048];
    char control[512];
    struct msghdr head;
    struct sockaddr_storage from;
};

static struct got receive(int fd, size_t room, size_t control_room, int flags)
{
    static struct got got;
    struct iovec part = {got.data, room};
    memset(&got, 0, sizeof got);
    got.head = (struct msghdr){.msg_name = &got.from, .msg_namelen = sizeof got.from, .msg_iov = &part, .msg_iovlen = 1,
                               .msg_control = control_room ? got.control : NULL, .msg_controllen = control_room};
    if (!(flags & MSG_DONTWAIT))
        HOLDS(readable(fd, 5000));
    got.length = recvmsg(fd, &got.head, flags | MSG_DONTWAIT);
    got.flags = got.head.msg_flags;
    got.head.msg_control = got.control;
    return got;
}

/* The control message of a type. */
static void *control(struct got *got, int type)
{
    got->head.msg_control = got->control;
    for (struct cmsghdr *one = CMSG_FIRSTHDR(&got->head); one; one = CMSG_NXTHDR(&got->head, one))
        if (one->cmsg_level == IPPROTO_SCTP && one->cmsg_type == type)
            return CMSG_DATA(one);
    return NULL;
}

ssize_t send_with(int fd, const struct sockaddr_storage *address, const char *data, size_t length, int type,
                  const void *control, size_t control_length)
{
    char space[256] = {0};
    struct iovec part = {(void *)data, length};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space,
                          .msg_controllen = CMSG_SPACE(control_length)};
    if (address) {
        head.msg_name = (void *)address;
        head.msg_namelen = length_of(address);
    }
    struct cmsghdr *one = (void *)space;
    one->cmsg_level = IPPROTO_SCTP;
    one->cmsg_type = type;
    one->cmsg_len = CMSG_LEN(control_length);
    memcpy(CMSG_DATA(one), control, control_length);
    return sendmsg(fd, &head, MSG_NOSIGNAL);
}

static void check_ancillary(struct ends *ends)
{
    struct sctp_sndinfo info = {.snd_sid = 2, .snd_ppid = htonl(46), .snd_context = 9, .snd_assoc_id = ends->at_client};
    struct sctp_event_subscribe io = {.sctp_data_io_event = 1};
    struct got got;
    struct sctp_rcvinfo *received;
    struct sctp_nxtinfo *next;
    struct sctp_sndrcvinfo *old;
    int on = 1, server = ends->server;
    WELL(SET(server, SCTP_RECVRCVINFO, on));
    WELL(SET(server, SCTP_RECVNXTINFO, on));
    WELL(SET(server, SCTP_EVENTS, io));
    IS(send_with(ends->client, NULL, "one", 3, SCTP_SNDINFO, &info, sizeof info), 3);
    info.snd_sid = 3;
    info.snd_flags = SCTP_UNORDERED;
    IS(send_with(ends->client, NULL, "second", 6, SCTP_SNDINFO, &info, sizeof info), 6);
    usleep(300000);
    got = receive(server, 2048, 512, 0);
    IS(got.length, 3);
    HOLDS(got.flags & MSG_EOR);
    IS(((struct sockaddr_in *)&got.from)->sin_port, htons(port_of(ends->client)));
    HOLDS((received = control(&got, SCTP_RCVINFO)) && (next = control(&got, SCTP_NXTINFO)));
    HOLDS((old = control(&got, SCTP_SNDRCV)) != NULL);
    if (!received || !next || !old)
        return;
    IS(received->rcv_sid, 2);
    IS(received->rcv_ssn, 0);
    IS(received->rcv_ppid, htonl(46));
    IS(received->rcv_flags, 0);
    IS(received->rcv_context, 0);
    IS(received->rcv_assoc_id, ends->at_server);
    IS(next->nxt_sid, 3);
    IS(next->nxt_length, 6);
    IS(next->nxt_flags, SCTP_UNORDERED);
    IS(next->nxt_assoc_id, ends->at_server);
    IS(old->sinfo_stream, 2);
    IS(old->sinfo_tsn, received->rcv_tsn);
    IS(old->sinfo_assoc_id, ends->at_server);
    got = receive(server, 2048, 512, 0);
    received = control(&got, SCTP_RCVINFO);
    HOLDS(received && received->rcv_flags == SCTP_UNORDERED && !control(&got, SCTP_NXTINFO));
    on = 0;
    WELL(SET(server, SCTP_RECVNXTINFO, on));
    WELL(SET(server, SCTP_RECVRCVINFO, on));
    io.sctp_data_io_event = 0;
    WELL(SET(server, SCTP_EVENTS, io));
}

static double wall(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* When a message came, as it is told with it: not when it is read. */
static double came(struct got *got, int type)
{
    long time[2];
    got->head.msg_control = got->control;
    struct cmsghdr *one = CMSG_FIRSTHDR(&got->head);
    HOLDS(one && one->cmsg_level == SOL_SOCKET && one->cmsg_type == type && one->cmsg_len == CMSG_LEN(sizeof time));
    if (!one)
        return 0;
    memcpy(time, CMSG_DATA(one), sizeof time);
    return time[0] + time[1] / (type == SO_TIMESTAMP ? 1e6 : 1e9);
}

static void check_times(struct ends *ends)
{
    struct sctp_sndinfo info = {.snd_assoc_id = ends->at_client};
    int types[] = {SO_TIMESTAMP, SO_TIMESTAMPNS}, server = ends->server;
    for (int k = 0; k < 2; k++) {
        WELL(set_int(server, SOL_SOCKET, types[k], 1));
        IS(get_int(server, SOL_SOCKET, types[!k]), 0);
        double begun = wall(), first, second;
        IS(send_with(ends->client, NULL, "one", 3, SCTP_SNDINFO, &info, sizeof info), 3);
        usleep(300000);
        IS(send_with(ends->client, NULL, "second", 6, SCTP_SNDINFO, &info, sizeof info), 6);
        usleep(300000);
        struct got got = receive(server, 2048, 512, 0);
        first = came(&got, types[k]);
        got = receive(server, 2048, 512, 0);
        second = came(&got, types[k]);
        HOLDS(first > begun - 0.1 && first < begun + 0.25);
        HOLDS(second > begun + 0.25 && second < begun + 0.55);
    }
    WELL(set_int(server, SOL_SOCKET, SO_TIMESTAMP, 0));
    IS(get_int(server, SOL_SOCKET, SO_TIMESTAMPNS), 0);
}

/* What SCTP_NXTINFO tells of notifications: also while one is read in pieces, and of an association that came to nothing. */
static void check_next_event(int type)
{
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, IPPROTO_SCTP), other = bound(AF_INET, type), on = 1;
    struct sockaddr_storage nobody = loopback(AF_INET, 1, port_of(other));
    struct sctp_nxtinfo *next;
    struct got got;
    close(other);
    subscribe(fd, SCTP_ASSOC_CHANGE);
    WELL(SET(fd, SCTP_RECVNXTINFO, on));
    for (int k = 0; k < 2; k++) {
        FAILS(connect(fd, (struct sockaddr *)&nobody, length_of(&nobody)), EINPROGRESS);
        usleep(20000);
    }
    for (int k = 0; k < 2; k++) {
        got = receive(fd, k ? 2048 : 5, 512, 0);
        IS(got.length, k ? 15 : 5);
        IS(got.flags & MSG_EOR, k ? MSG_EOR : 0);
        HOLDS((next = control(&got, SCTP_NXTINFO)) != NULL);
        HOLDS(next && next->nxt_length == 20 && next->nxt_flags == SCTP_NOTIFICATION && next->nxt_assoc_id == 0);
    }
    got = receive(fd, 2048, 512, 0);
    IS(got.length, 20);
    HOLDS(!control(&got, SCTP_NXTINFO));
    close(fd);
}

static void check_parts(struct ends *ends)
{
    struct sctp_sndinfo info = {.snd_assoc_id = ends->at_client};
    struct got got;
    int waiting, on = 1;
    IS(send_with(ends->client, NULL, "abcdefghij", 10, SCTP_SNDINFO, &info, sizeof info), 10);
    got = receive(ends->server, 4, 0, MSG_PEEK);
    IS(got.length, 4);
    HOLDS(!(got.flags & MSG_EOR));
    got = receive(ends->server, 4, 0, 0);
    HOLDS(!memcmp(got.data, "abcd", 4) && !(got.flags & MSG_EOR));
    WELL(ioctl(ends->server, FIONREAD, &waiting));
    IS(waiting, 6);
    got = receive(ends->server, 6, 0, 0);
    HOLDS(!memcmp(got.data, "efghij", 6) && (got.flags & MSG_EOR));
    FAILS(receive(ends->server, 4, 0, MSG_DONTWAIT).length, EAGAIN);
    /* Control messages without room are cut off, and it is said so. */
    WELL(SET(ends->server, SCTP_RECVRCVINFO, on));
    IS(send_with(ends->client, NULL, "x", 1, SCTP_SNDINFO, &info, sizeof info), 1);
    got = receive(ends->server, 4, sizeof(struct cmsghdr) + 4, 0);
    HOLDS(got.flags & MSG_CTRUNC);
    on = 0;
    WELL(SET(ends->server, SCTP_RECVRCVINFO, on));
}

static void check_bad_messages(struct ends *ends, int type)
{
    struct sctp_sndinfo info = {.snd_assoc_id = ends->at_client};
    struct sctp_sndrcvinfo old = {.sinfo_assoc_id = ends->at_client};
    struct sctp_prinfo lifetime = {.pr_policy = 0x40};
    unsigned short key = 0;
    char *large = calloc(1, 5 << 20);
    int fd = ends->client, on = 1, size = 200000;
    WELL(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    FAILS(send_with(fd, NULL, large, 5 << 20, SCTP_SNDINFO, &info, sizeof info), EMSGSIZE);
    FAILS(send_with(fd, NULL, "", 0, SCTP_SNDINFO, &info, sizeof info), EINVAL);
    info.snd_sid = 10;
    FAILS(send_with(fd, NULL, "x", 1, SCTP_SNDINFO, &info, sizeof info), EINVAL);
    info.snd_sid = 0;
    info.snd_flags = 0x4000;
    FAILS(send_with(fd, NULL, "x", 1, SCTP_SNDINFO, &info, sizeof info), EINVAL);
    info.snd_flags = SCTP_ADDR_OVER;
    FAILS(send_with(fd, NULL, "x", 1, SCTP_SNDINFO, &info, sizeof info), EINVAL);
    info.snd_flags = SCTP_EOF;
    FAILS(send_with(fd, NULL, "x", 1, SCTP_SNDINFO, &info, sizeof info), EINVAL);
    if (!MANY(type))
        FAILS(send_with(fd, NULL, "", 0, SCTP_SNDINFO, &info, sizeof info), EINVAL);
    info.snd_flags = 0;
    FAILS(send_with(fd, NULL, "x", 1, SCTP_SNDINFO, &info, sizeof info - 1), EINVAL);
    FAILS(send_with(fd, NULL, "x", 1, SCTP_SNDRCV, &old, sizeof old - 4), EINVAL);
    FAILS(send_with(fd, NULL, "x", 1, SCTP_PRINFO, &lifetime, sizeof lifetime), EINVAL);
    FAILS(send_with(fd, NULL, "x", 1, SCTP_AUTHINFO, &key, 1), EINVAL);
    FAILS(send_with(fd, NULL, "x", 1, 77, &info, sizeof info), EINVAL);
    info.snd_assoc_id = 4711;
    FAILS(send_with(fd, NULL, "x", 1, SCTP_SNDINFO, &info, sizeof info), MANY(type) ? EPIPE : 0);
    WELL(SET(fd, SCTP_DISABLE_FRAGMENTS, on));
    info.snd_assoc_id = ends->at_client;
    FAILS(send_with(fd, NULL, large, 100000, SCTP_SNDINFO, &info, sizeof info), EMSGSIZE);
    free(large);
}

void check_messages(int type)
{
    struct ends ends = associate(AF_INET, type);
    check_ancillary(&ends);
    check_parts(&ends);
    check_times(&ends);
    check_bad_messages(&ends, type);
    part(&ends);
    check_next_event(type);
}

void *next_event(int fd, int type, int length)
{
    static struct got got;
    got = receive(fd, sizeof got.data, 0, 0);
    struct sn { unsigned short type, flags; unsigned int length; } *head = (void *)got.data;
    HOLDS(got.flags & MSG_NOTIFICATION && got.flags & MSG_EOR);
    IS(head->type, type);
    IS(head->length, got.length);
    if (length)
        IS(got.length, length);
    return got.data;
}

void subscribe(int fd, int type)
{
    struct sctp_event event = {.se_assoc_id = SCTP_ALL_ASSOC, .se_type = type, .se_on = 1};
    WELL(SET(fd, SCTP_EVENT, event));
}

void check_events(void)
{
    struct ends ends = {.listener = bound(AF_INET, SOCK_SEQPACKET), .client = bound(AF_INET, SOCK_SEQPACKET)};
    struct sockaddr_storage name = loopback(AF_INET, 1, port_of(ends.listener));
    struct sctp_setadaptation adaptation = {.ssb_adaptation_ind = 0x11223344};
    struct sctp_prim prim = {.ssp_addr = name};
    int all[] = {SCTP_ASSOC_CHANGE, SCTP_PEER_ADDR_CHANGE, SCTP_REMOTE_ERROR, SCTP_SHUTDOWN_EVENT,
                 SCTP_ADAPTATION_INDICATION, SCTP_AUTHENTICATION_EVENT, SCTP_SEND_FAILED_EVENT};
    struct sctp_assoc_change *change;
    for (size_t at = 0; at < sizeof all / sizeof *all; at++)
        subscribe(ends.client, all[at]);
    WELL(SET(ends.listener, SCTP_ADAPTATION_LAYER, adaptation));
    WELL(listen(ends.listener, 1));
    WELL(connect(ends.client, (struct sockaddr *)&name, length_of(&name)));
    change = next_event(ends.client, SCTP_ASSOC_CHANGE, sizeof *change);
    IS(change->sac_state, SCTP_COMM_UP);
    IS(change->sac_error, 0);
    IS(change->sac_outbound_streams, 10);
    IS(change->sac_inbound_streams, 10);
    ends.at_client = change->sac_assoc_id;
    struct sctp_adaptation_event *told = next_event(ends.client, SCTP_ADAPTATION_INDICATION, sizeof *told);
    IS(told->sai_adaptation_ind, 0x11223344);
    IS(told->sai_assoc_id, ends.at_client);
    struct sctp_authkey_event *key = next_event(ends.client, SCTP_AUTHENTICATION_EVENT, sizeof *key);
    IS(key->auth_indication, SCTP_AUTH_NO_AUTH);
    prim.ssp_assoc_id = ends.at_client;
    WELL(SET(ends.client, SCTP_PRIMARY_ADDR, prim));
    struct sctp_paddr_change *path = next_event(ends.client, SCTP_PEER_ADDR_CHANGE, sizeof *path);
    IS(path->spc_state, SCTP_ADDR_MADE_PRIM);
    IS(path->spc_assoc_id, ends.at_client);
    HOLDS(!memcmp(&path->spc_aaddr, &name, sizeof(struct sockaddr_in)));
    /* Nothing waits: that is told at once, and again when what is sent is acknowledged. */
    struct sctp_event dry = {.se_assoc_id = ends.at_client, .se_type = SCTP_SENDER_DRY_EVENT, .se_on = 1};
    WELL(SET(ends.client, SCTP_EVENT, dry));
    struct sctp_sender_dry_event *none = next_event(ends.client, SCTP_SENDER_DRY_EVENT, sizeof *none);
    IS(none->sender_dry_assoc_id, ends.at_client);
    struct sctp_sndinfo info = {.snd_assoc_id = ends.at_client};
    IS(send_with(ends.client, NULL, "x", 1, SCTP_SNDINFO, &info, sizeof info), 1);
    none = next_event(ends.client, SCTP_SENDER_DRY_EVENT, sizeof *none);
    close(ends.listener);
    change = next_event(ends.client, SCTP_ASSOC_CHANGE, 0);
    IS(change->sac_state, SCTP_COMM_LOST);
    close(ends.client);
}

/* What comes to nothing has no number, but for one that was told before. */
static void check_nothing(void)
{
    int fd = bound(AF_INET, SOCK_SEQPACKET), nobody = bound(AF_INET, SOCK_SEQPACKET);
    struct sockaddr_storage to = loopback(AF_INET, 1, port_of(nobody));
    struct sctp_sndinfo info = {.snd_sid = 1};
    struct sctp_assoc_change *change;
    struct sctp_send_failed_event *failed;
    sctp_assoc_t number = 0;
    subscribe(fd, SCTP_ASSOC_CHANGE);
    subscribe(fd, SCTP_SEND_FAILED_EVENT);
    FAILS(connect(fd, (struct sockaddr *)&to, length_of(&to)), ECONNREFUSED);
    change = next_event(fd, SCTP_ASSOC_CHANGE, sizeof *change);
    IS(change->sac_state, SCTP_CANT_STR_ASSOC);
    IS(change->sac_assoc_id, 0);
    IS(send_with(fd, &to, "x", 1, SCTP_SNDINFO, &info, sizeof info), 1);
    change = next_event(fd, SCTP_ASSOC_CHANGE, sizeof *change);
    IS(change->sac_assoc_id, 0);
    failed = next_event(fd, SCTP_SEND_FAILED_EVENT, sizeof *failed + 1);
    IS(failed->ssf_assoc_id, 0);
    IS(failed->ssfe_info.snd_sid, 1);
    WELL(fcntl(fd, F_SETFL, O_NONBLOCK));
    FAILS(sctp_connectx(fd, (struct sockaddr *)&to, 1, &number), EINPROGRESS);
    HOLDS(readable(fd, 5000));
    change = next_event(fd, SCTP_ASSOC_CHANGE, sizeof *change);
    HOLDS(number > 2);
    IS(change->sac_assoc_id, number);
    close(nobody);
    close(fd);
}

void check_endings(void)
{
    struct ends ends = associate(AF_INET, SOCK_SEQPACKET);
    struct sctp_sndinfo info = {.snd_assoc_id = ends.at_client, .snd_flags = SCTP_EOF};
    struct sctp_status status = {.sstat_assoc_id = ends.at_client};
    struct sctp_assoc_change *change;
    char byte;
    subscribe(ends.server, SCTP_SHUTDOWN_EVENT);
    subscribe(ends.server, SCTP_ASSOC_CHANGE);
    subscribe(ends.client, SCTP_ASSOC_CHANGE);
    IS(send_with(ends.client, NULL, "", 0, SCTP_SNDINFO, &info, sizeof info), 0);
    struct sctp_shutdown_event *down = next_event(ends.server, SCTP_SHUTDOWN_EVENT, sizeof *down);
    IS(down->sse_assoc_id, ends.at_server);
    change = next_event(ends.server, SCTP_ASSOC_CHANGE, sizeof *change);
    IS(change->sac_state, SCTP_SHUTDOWN_COMP);
    change = next_event(ends.client, SCTP_ASSOC_CHANGE, sizeof *change);
    IS(change->sac_state, SCTP_SHUTDOWN_COMP);
    FAILS(GET(ends.client, SCTP_STATUS, status), EINVAL);
    part(&ends);

    ends = associate(AF_INET, SOCK_SEQPACKET);
    info = (struct sctp_sndinfo){.snd_assoc_id = ends.at_client, .snd_flags = SCTP_ABORT};
    subscribe(ends.server, SCTP_ASSOC_CHANGE);
    IS(send_with(ends.client, NULL, "reason", 6, SCTP_SNDINFO, &info, sizeof info), 0);
    change = next_event(ends.server, SCTP_ASSOC_CHANGE, 0);
    IS(change->sac_state, SCTP_COMM_LOST);
    IS(ntohs(change->sac_error), 12);
    HOLDS(change->sac_length >= sizeof *change + 4 + 6 && !memcmp(change->sac_info + 4, "reason", 6));
    part(&ends);

    ends = associate(AF_INET, SOCK_STREAM);
    struct iovec place = {&byte, 1};
    struct msghdr head = {.msg_iov = &place, .msg_iovlen = 1};
    IS(send(ends.client, "x", 1, 0), 1);
    HOLDS(readable(ends.server, 5000));
    IS(recvmsg(ends.server, &head, MSG_CMSG_CLOEXEC), 1);
    IS(head.msg_flags, MSG_EOR | MSG_CMSG_CLOEXEC);
    WELL(shutdown(ends.client, SHUT_WR));
    HOLDS(readable(ends.server, 5000));
    IS(recv(ends.server, &byte, 1, 0), 0);
    FAILS(send(ends.client, "x", 1, MSG_NOSIGNAL), EPIPE);
    part(&ends);
    FAILS(shutdown(-1, SHUT_WR), EBADF);
    check_nothing();
}

static void check_addresses(struct ends *ends)
{
    struct sockaddr *list = NULL;
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    IS(sctp_getpaddrs(ends->client, ends->at_client, &list), 1);
    if (list) {
        IS(((struct sockaddr_in *)list)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
        IS(((struct sockaddr_in *)list)->sin_port, htons(port_of(ends->listener)));
        sctp_freepaddrs(list);
    }
    IS(sctp_getladdrs(ends->client, 0, &list), 1);
    sctp_freeladdrs(list);
    FAILS(sctp_getpaddrs(ends->client, 4711, &list), EINVAL);
    FAILS(getpeername(ends->client, (struct sockaddr *)&name, &length), ENOTCONN);
}

/* How many of a socket's, or an association's, addresses are of the loopback; one that is not. */
static int on_loopback(int fd, sctp_assoc_t assoc, struct in_addr *other)
{
    struct sockaddr *list = NULL;
    int count = sctp_getladdrs(fd, assoc, &list), found = 0;
    for (int at = 0; at < count; at++) {
        struct in_addr address = ((struct sockaddr_in *)list)[at].sin_addr;
        if (ntohl(address.s_addr) >> 24 == 127)
            found++;
        else
            *other = address;
    }
    if (list)
        sctp_freeladdrs(list);
    return found;
}

/* A socket that is bound to all addresses has all; its association with a peer elsewhere has those that it was told. */
static void check_told_addresses(void)
{
    int server = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP), client = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);
    struct sockaddr_in name = {.sin_family = AF_INET}, any = {.sin_family = AF_INET};
    struct in_addr other = {0};
    WELL(bind(client, (struct sockaddr *)&any, sizeof any));
    HOLDS(on_loopback(client, 0, &name.sin_addr) > 0 && name.sin_addr.s_addr != 0);
    WELL(bind(server, (struct sockaddr *)&name, sizeof name));
    WELL(listen(server, 1));
    name.sin_port = htons(port_of(server));
    WELL(connect(client, (struct sockaddr *)&name, sizeof name));
    HOLDS(on_loopback(client, 0, &other) > 0);
    other.s_addr = 0;
    IS(on_loopback(client, 1, &other), 0);
    HOLDS(other.s_addr != 0);
    close(client);
    close(server);
}

/* Between two ends on one host, which tell all of their addresses, nothing comes between the news of the association and the
 * first message: that the others are confirmed is told later. */
static void check_first_message(void)
{
    struct sctp_event_subscribe events = {.sctp_association_event = 1, .sctp_address_event = 1};
    int server = socket(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP), client = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);
    struct sockaddr_storage name = loopback(AF_INET, 1, 0);
    struct sockaddr_in any = {.sin_family = AF_INET};
    union sctp_notification told;
    char text[8];
    int flags = 0;
    WELL(bind(server, (struct sockaddr *)&any, sizeof any));
    WELL(setsockopt(server, IPPROTO_SCTP, SCTP_EVENTS, &events, sizeof events));
    WELL(listen(server, 1));
    name = loopback(AF_INET, 1, port_of(server));
    WELL(connect(client, (struct sockaddr *)&name, sizeof any));
    usleep(100000);
    IS(send(client, "first", 5, 0), 5);
    HOLDS(sctp_recvmsg(server, &told, sizeof told, NULL, NULL, NULL, &flags) > 0 && flags & MSG_NOTIFICATION);
    IS(told.sn_header.sn_type, SCTP_ASSOC_CHANGE);
    flags = 0;
    IS(sctp_recvmsg(server, text, sizeof text, NULL, NULL, NULL, &flags), 5);
    IS(flags & MSG_NOTIFICATION, 0);
    close(client);
    close(server);
}

static void check_bindx(void)
{
    int fd = socket(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP);
    struct sockaddr_storage one = loopback(AF_INET, 1, 0), two = loopback(AF_INET, 2, 0), list[1];
    struct sockaddr *found = NULL;
    struct sockaddr_in all = {.sin_family = AF_INET};
    FAILS(sctp_bindx(fd, (struct sockaddr *)&one, 1, SCTP_BINDX_REM_ADDR), EBUSY);
    WELL(sctp_bindx(fd, (struct sockaddr *)&one, 1, SCTP_BINDX_ADD_ADDR));
    all.sin_port = htons(port_of(fd));
    FAILS(sctp_bindx(fd, (struct sockaddr *)&all, 1, SCTP_BINDX_ADD_ADDR), EINVAL);
    /* One address stays, of whatever port. */
    FAILS(sctp_bindx(fd, (struct sockaddr *)&two, 1, SCTP_BINDX_REM_ADDR), EBUSY);
    all.sin_port ^= 1;
    FAILS(sctp_bindx(fd, (struct sockaddr *)&all, 1, SCTP_BINDX_REM_ADDR), EBUSY);
    ((struct sockaddr_in *)&two)->sin_port = htons(port_of(fd));
    WELL(sctp_bindx(fd, (struct sockaddr *)&two, 1, SCTP_BINDX_ADD_ADDR));
    IS(sctp_getladdrs(fd, 0, &found), 2);
    sctp_freeladdrs(found);
    FAILS(sctp_bindx(fd, (struct sockaddr *)&all, 1, SCTP_BINDX_REM_ADDR), EADDRNOTAVAIL);
    list[0] = loopback(AF_INET, 3, port_of(fd));
    FAILS(sctp_bindx(fd, (struct sockaddr *)list, 1, SCTP_BINDX_REM_ADDR), EINVAL);
    list[0] = loopback(AF_INET, 2, port_of(fd) ^ 1);
    FAILS(sctp_bindx(fd, (struct sockaddr *)list, 1, SCTP_BINDX_REM_ADDR), EINVAL);
    WELL(sctp_bindx(fd, (struct sockaddr *)&two, 1, SCTP_BINDX_REM_ADDR));
    ((struct sockaddr_in *)&one)->sin_port = htons(port_of(fd));
    FAILS(sctp_bindx(fd, (struct sockaddr *)&one, 1, SCTP_BINDX_REM_ADDR), EBUSY);
    list[0] = loopback(AF_INET, 3, port_of(fd) ^ 1);
    FAILS(sctp_bindx(fd, (struct sockaddr *)list, 1, SCTP_BINDX_ADD_ADDR), EINVAL);
    FAILS(sctp_bindx(fd, (struct sockaddr *)list, 1, 99), EINVAL);
    close(fd);
}

/* Lists of addresses for a socket that nobody has bound: the first says at which port, and all addresses go with none. */
static void check_lists(void)
{
    static const struct { int hosts[2], ports[2], error; } lists[] = {
        {{0, 1}, {0, 0}, EINVAL},
        {{1, 0}, {0, 0}, EINVAL},
        {{0, 0}, {0, 0}, EINVAL},
        {{1, 1}, {0, 0}, EINVAL},
        {{1, 2}, {0, 0}, 0},
        {{1, 2}, {1, 0}, 0},
        {{1, 2}, {1, 1}, 0},
        {{1, 2}, {1, 2}, EINVAL},
        {{1, 2}, {0, 1}, EINVAL},
        {{0, 1}, {1, 0}, EINVAL},
    };
    for (size_t at = 0; at < sizeof lists / sizeof *lists; at++) {
        int fd = socket(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP);
        struct sockaddr_in both[2] = {0};
        struct sockaddr *found = NULL;
        for (int k = 0; k < 2; k++) {
            both[k].sin_family = AF_INET;
            both[k].sin_port = htons(lists[at].ports[k] ? 28000 + lists[at].ports[k] : 0);
            both[k].sin_addr.s_addr = htonl(lists[at].hosts[k] ? INADDR_LOOPBACK - 1 + lists[at].hosts[k] : INADDR_ANY);
        }
        FAILS(sctp_bindx(fd, (struct sockaddr *)both, 2, SCTP_BINDX_ADD_ADDR), lists[at].error);
        if (!lists[at].error) {
            IS(sctp_getladdrs(fd, 0, &found), 2);
            for (int k = 0; k < 2; k++)
                IS(ntohs(((struct sockaddr_in *)found)[k].sin_port), port_of(fd));
            sctp_freeladdrs(found);
        }
        close(fd);
    }
}

/* The lengths that getsockopt tells where libsctp does not look at them. */
static void check_lengths(struct ends *ends)
{
    struct { struct sctp_getaddrs head; struct sockaddr_in addresses[20]; } list = {0};
    struct sockaddr_storage to = loopback(AF_INET, 1, port_of(ends->listener));
    struct { sctp_assoc_t number; int length; struct sockaddr *addresses; } many = {.length = 16, .addresses = (void *)&to};
    int fd = socket(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP);
    list.head.assoc_id = ends->at_client;
    IS(GET(ends->client, SCTP_GET_PEER_ADDRS, list), 8 + 16);
    list.head.assoc_id = 0;
    IS(GET(ends->client, SCTP_GET_LOCAL_ADDRS, list), 16);
    IS(list.head.addr_num, 1);
    IS(GET(fd, SCTP_GET_LOCAL_ADDRS, list), 0);
    IS(GET(fd, SCTP_SOCKOPT_CONNECTX3, many), sizeof many.number);
    HOLDS(many.number > 2);
    close(fd);
    fd = socket(AF_INET, SOCK_SEQPACKET | SOCK_NONBLOCK, IPPROTO_SCTP);
    socklen_t length = sizeof many;
    FAILS(getsockopt(fd, IPPROTO_SCTP, SCTP_SOCKOPT_CONNECTX3, &many, &length), EINPROGRESS);
    IS(length, sizeof many.number);
    length = sizeof many;
    FAILS(getsockopt(ends->client, IPPROTO_SCTP, SCTP_SOCKOPT_CONNECTX3, &many, &length), EISCONN);
    IS(length, sizeof many);
    close(fd);
}

static void check_peel_off(struct ends *ends)
{
    struct sctp_sndinfo info = {0};
    char data[16];
    int peeled = sctp_peeloff(ends->client, ends->at_client);
    WELL(peeled);
    IS(get_int(peeled, SOL_SOCKET, SO_TYPE), SOCK_SEQPACKET);
    IS(send_with(peeled, NULL, "peeled", 6, SCTP_SNDINFO, &info, sizeof info), 6);
    HOLDS(readable(ends->server, 5000));
    IS(recv(ends->server, data, sizeof data, 0), 6);
    FAILS(sctp_peeloff(ends->client, ends->at_client), EINVAL);
    FAILS(sctp_peeloff(peeled, ends->at_client), EINVAL);
    close(peeled);
}

void check_functions(void)
{
    struct ends ends = associate(AF_INET, SOCK_SEQPACKET);
    struct sockaddr_storage peer = loopback(AF_INET, 1, port_of(ends.listener)), from;
    struct sctp_sndrcvinfo old = {.sinfo_assoc_id = ends.at_client, .sinfo_stream = 1};
    struct sctp_event_subscribe io = {.sctp_data_io_event = 1};
    struct sctp_status status = {0};
    struct sctp_rcvinfo received;
    struct sctp_sndinfo info = {.snd_sid = 4, .snd_assoc_id = ends.at_client};
    socklen_t length = sizeof from, room = sizeof status;
    unsigned int kind = 0;
    struct iovec part_of = {(void *)"vector", 6};
    int flags = 0, on = 1;
    char data[64];
    WELL(SET(ends.server, SCTP_EVENTS, io));
    IS(sctp_sendmsg(ends.client, "to", 2, (struct sockaddr *)&peer, length_of(&peer), 7, 0, 5, 0, 0), 2);
    HOLDS(readable(ends.server, 5000));
    IS(sctp_recvmsg(ends.server, data, sizeof data, (struct sockaddr *)&from, &length, &old, &flags), 2);
    IS(old.sinfo_stream, 5);
    IS(old.sinfo_ppid, 7);
    old = (struct sctp_sndrcvinfo){.sinfo_assoc_id = ends.at_client, .sinfo_stream = 1};
    IS(sctp_send(ends.client, "send", 4, &old, 0), 4);
    HOLDS(readable(ends.server, 5000));
    IS(sctp_recvmsg(ends.server, data, sizeof data, NULL, NULL, &old, &flags), 4);
    IS(old.sinfo_stream, 1);
    WELL(SET(ends.server, SCTP_RECVRCVINFO, on));
    IS(sctp_sendv(ends.client, &part_of, 1, NULL, 0, &info, sizeof info, SCTP_SENDV_SNDINFO, 0), 6);
    HOLDS(readable(ends.server, 5000));
    part_of = (struct iovec){data, sizeof data};
    length = sizeof from;
    socklen_t info_length = sizeof received;
    flags = 0;
    IS(sctp_recvv(ends.server, &part_of, 1, (struct sockaddr *)&from, &length, &received, &info_length, &kind, &flags),
       6);
    IS(kind, SCTP_RECVV_RCVINFO);
    IS(received.rcv_sid, 4);
    WELL(sctp_opt_info(ends.client, ends.at_client, SCTP_STATUS, &status, &room));
    IS(status.sstat_state, SCTP_ESTABLISHED);
    check_addresses(&ends);
    check_lengths(&ends);
    check_peel_off(&ends);
    check_bindx();
    check_lists();
    check_told_addresses();
    check_first_message();
    part(&ends);
}

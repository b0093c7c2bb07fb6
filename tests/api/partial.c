/* Messages that are larger than the receive window: they are read in pieces (RFC 6458 8.1.20, 8.1.21, 6.1.7). */
#include "check.h"

#include <stdlib.h>
#include <unistd.h>

#define MANY(type) ((type) == SOCK_SEQPACKET)

enum { WINDOW = 32768, LARGE = 150000, CHUNK = 1000, ROOM = 10000 };

static char large[LARGE], read_bytes[LARGE + ROOM];
static const char other[] = "from another peer", behind[] = "behind it";

/* The next message, or part of one; flags as recvmsg tells them. */
static ssize_t take(int fd, char *into, size_t room, struct sctp_sndrcvinfo *info, int *flags)
{
    *flags = 0;
    memset(info, 0, sizeof *info);
    if (!readable(fd, 20000))
        return -1;
    return sctp_recvmsg(fd, into, room, NULL, NULL, info, flags);
}

/* Reads a message to its end. How long it was; PIECES says in how many parts it came. */
static size_t take_all(int fd, size_t room, int stream, int *pieces)
{
    struct sctp_sndrcvinfo info;
    size_t length = 0;
    int flags;
    *pieces = 0;
    do {
        ssize_t got = take(fd, read_bytes + length, room, &info, &flags);
        HOLDS(got > 0);
        if (got <= 0 || length + (size_t)got > LARGE)
            return 0;
        IS(info.sinfo_stream, stream);
        length += (size_t)got;
        ++*pieces;
    } while (!(flags & MSG_EOR));
    return length;
}

static struct ends begin(int type)
{
    struct sctp_assoc_value most = {.assoc_value = CHUNK};
    struct sctp_event_subscribe with = {.sctp_data_io_event = 1};
    struct ends ends;
    receive_buffer = WINDOW;
    ends = associate(AF_INET, type);
    receive_buffer = 0;
    most.assoc_id = ends.at_client;
    WELL(SET(ends.client, SCTP_MAXSEG, most));
    WELL(set_int(ends.client, SOL_SOCKET, SO_SNDBUFFORCE, 8 * LARGE));
    WELL(SET(ends.server, SCTP_EVENTS, with));
    return ends;
}

static void send_on(const struct ends *ends, int stream, const char *data, size_t length)
{
    struct sctp_sndinfo info = {.snd_sid = (uint16_t)stream, .snd_assoc_id = ends->at_client};
    IS(send_with(ends->client, NULL, data, length, SCTP_SNDINFO, &info, sizeof info), length);
}

/* It arrives in pieces, in full, before what was sent behind it on another stream. */
static void check_pieces(int type)
{
    struct ends ends = begin(type);
    struct sctp_sndrcvinfo info;
    int pieces, flags;
    char peeked[10];
    send_on(&ends, 1, large, LARGE);
    send_on(&ends, 2, behind, sizeof behind);
    HOLDS(readable(ends.server, 20000));
    IS(recv(ends.server, peeked, sizeof peeked, MSG_PEEK), sizeof peeked);
    HOLDS(!memcmp(peeked, large, sizeof peeked));
    IS(take_all(ends.server, ROOM, 1, &pieces), LARGE);
    HOLDS(pieces >= LARGE / ROOM && !memcmp(read_bytes, large, LARGE));
    IS(take(ends.server, read_bytes, ROOM, &info, &flags), sizeof behind);
    IS(info.sinfo_stream, 2);
    HOLDS(flags & MSG_EOR && !memcmp(read_bytes, behind, sizeof behind));
    part(&ends);
}

/* What is not above the point is one piece; a point above the buffer is none. */
static void check_point(int type)
{
    struct ends ends = begin(type);
    int pieces;
    WELL(set_int(ends.server, IPPROTO_SCTP, SCTP_PARTIAL_DELIVERY_POINT, 4000));
    send_on(&ends, 1, large, 4000);
    IS(take_all(ends.server, ROOM, 1, &pieces), 4000);
    IS(pieces, 1);
    send_on(&ends, 1, large, LARGE);
    IS(take_all(ends.server, ROOM, 1, &pieces), LARGE);
    HOLDS(pieces >= LARGE / ROOM && !memcmp(read_bytes, large, LARGE));
    WELL(set_int(ends.server, IPPROTO_SCTP, SCTP_PARTIAL_DELIVERY_POINT, WINDOW));
    FAILS(set_int(ends.server, IPPROTO_SCTP, SCTP_PARTIAL_DELIVERY_POINT, WINDOW + 1), EINVAL);
    part(&ends);
}

/* The peer goes away in the middle: what came of it, then that no more does, then the end. */
static void check_cut(int type, int wanted, int interleave)
{
    struct ends ends = begin(type);
    struct linger at_once = {.l_onoff = 1};
    struct sctp_sndrcvinfo info;
    struct sctp_assoc_change *change;
    size_t length = 0;
    int flags;
    if (wanted)
        subscribe(ends.server, SCTP_PARTIAL_DELIVERY_EVENT);
    subscribe(ends.server, SCTP_ASSOC_CHANGE);
    WELL(set_int(ends.server, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE, interleave));
    send_on(&ends, 1, large, LARGE);
    IS(take(ends.server, read_bytes, CHUNK, &info, &flags), CHUNK);
    IS(flags & (MSG_EOR | MSG_NOTIFICATION), 0);
    WELL(setsockopt(ends.client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
    close(ends.client);
    for (length = CHUNK; length <= LARGE; ) {
        ssize_t got = take(ends.server, read_bytes + length, ROOM, &info, &flags);
        HOLDS(got > 0);
        if (got <= 0 || flags & MSG_NOTIFICATION)
            break;
        IS(flags & MSG_EOR, 0);
        length += (size_t)got;
    }
    HOLDS(length < LARGE && !memcmp(read_bytes, large, length));
    if (wanted) {
        struct sctp_pdapi_event *cut = (void *)(read_bytes + length);
        IS(cut->pdapi_type, SCTP_PARTIAL_DELIVERY_EVENT);
        IS(cut->pdapi_length, sizeof *cut);
        IS(cut->pdapi_flags, 0);
        IS(cut->pdapi_indication, SCTP_PARTIAL_DELIVERY_ABORTED);
        IS(cut->pdapi_assoc_id, ends.at_server);
        HOLDS(flags & MSG_EOR);
        change = next_event(ends.server, SCTP_ASSOC_CHANGE, 0);
    } else {
        change = (void *)(read_bytes + length);
        IS(change->sac_type, SCTP_ASSOC_CHANGE);
    }
    if (change) {
        IS(change->sac_state, SCTP_COMM_LOST);
        IS(change->sac_assoc_id, ends.at_server);
    }
    if (ends.server != ends.listener)
        close(ends.server);
    close(ends.listener);
}

/* Another peer's message comes after all of it; or, with SCTP_FRAGMENT_INTERLEAVE, between its pieces. */
static void check_interleave(int interleave)
{
    struct ends ends = begin(SOCK_SEQPACKET);
    struct sockaddr_storage name = loopback(AF_INET, 1, port_of(ends.listener));
    struct sctp_sndrcvinfo info;
    int second = bound(AF_INET, SOCK_SEQPACKET), flags, ended = 0, heard = 0;
    size_t length = 0;
    WELL(set_int(ends.server, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE, interleave));
    send_on(&ends, 1, large, LARGE);
    IS(take(ends.server, read_bytes, CHUNK, &info, &flags), CHUNK);
    length = CHUNK;
    IS(sendto(second, other, sizeof other, 0, (struct sockaddr *)&name, length_of(&name)), sizeof other);
    usleep(500 * 1000);
    while (!ended || !heard) {
        ssize_t got = take(ends.server, read_bytes + length, ROOM, &info, &flags);
        HOLDS(got > 0);
        if (got <= 0 || length + (size_t)got > LARGE + ROOM)
            break;
        if (info.sinfo_assoc_id == ends.at_server) {
            length += (size_t)got;
            ended |= flags & MSG_EOR;
            continue;
        }
        heard = 1;
        IS(got, sizeof other);
        HOLDS(flags & MSG_EOR && !memcmp(read_bytes + length, other, sizeof other));
        IS(!!ended, !interleave);
    }
    HOLDS(length == LARGE && !memcmp(read_bytes, large, LARGE));
    close(second);
    part(&ends);
}

/* What is told of an association waits for the end of its message that is being read; of another, as messages do. */
static void check_told(int interleave)
{
    struct ends ends = begin(SOCK_SEQPACKET);
    struct sockaddr_storage name = loopback(AF_INET, 1, port_of(ends.listener));
    struct sctp_sndinfo info = {.snd_assoc_id = ends.at_server};
    struct sctp_sndrcvinfo with;
    int second = bound(AF_INET, SOCK_SEQPACKET), flags, ended = 0, told = 0;
    size_t length = CHUNK;
    WELL(set_int(ends.server, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE, interleave));
    subscribe(ends.server, SCTP_SENDER_DRY_EVENT);
    next_event(ends.server, SCTP_SENDER_DRY_EVENT, 0);
    subscribe(ends.server, SCTP_ASSOC_CHANGE);
    send_on(&ends, 1, large, LARGE);
    IS(take(ends.server, read_bytes, CHUNK, &with, &flags), CHUNK);
    IS(send_with(ends.server, NULL, "x", 1, SCTP_SNDINFO, &info, sizeof info), 1);
    WELL(connect(second, (struct sockaddr *)&name, length_of(&name)));
    usleep(500 * 1000);
    while (!ended || told < 3) {
        struct sctp_sender_dry_event *event = (void *)(read_bytes + length);
        ssize_t got = take(ends.server, read_bytes + length, ROOM, &with, &flags);
        HOLDS(got > 0);
        if (got <= 0 || length + (size_t)got > LARGE + ROOM)
            break;
        if (!(flags & MSG_NOTIFICATION)) {
            length += (size_t)got;
            ended |= flags & MSG_EOR;
            continue;
        }
        int own = event->sender_dry_assoc_id == ends.at_server && event->sender_dry_type == SCTP_SENDER_DRY_EVENT;
        told |= own ? 1 : 2;
        IS(!!ended, own || !interleave);
    }
    HOLDS(length == LARGE && !memcmp(read_bytes, large, LARGE));
    close(second);
    part(&ends);
}

void check_partial(int type)
{
    for (int at = 0; at < LARGE; at++)
        large[at] = (char)(at % 251);
    check_pieces(type);
    check_point(type);
    check_cut(type, 1, 0);
    check_cut(type, 0, 0);
    check_cut(type, 1, 1);
    if (MANY(type)) {
        check_interleave(0);
        check_interleave(1);
        check_told(0);
        check_told(1);
    }
}

/*
 * The workload that two peers exchange: what message number i looks like follows from its seed alone, so each end
 * verifies what it receives without having seen what the other sent. src/workload.rs is the same in Rust, and a
 * test compares the two.
 */
#ifndef ESOCK_WORKLOAD_H
#define ESOCK_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

/* One direction of an exchange: "none", "fixed:LENGTH:COUNT:SEED" or "mixed:TOTAL:LARGEST:SEED". */
struct workload {
	uint32_t *lengths;   /* of each message, in bytes */
	uint32_t count;      /* of messages */
	uint32_t largest;    /* message, in bytes */
	uint64_t total;      /* bytes in all */
	uint64_t seed;
	int mixed;           /* some messages are unordered */
};

/* Returns 0, or -1 if the text is none of the three forms. */
int workload_parse(struct workload *w, const char *text);

uint16_t workload_stream(uint32_t index, uint16_t streams);
int workload_unordered(const struct workload *w, uint32_t index);

/* Writes message `index` to `out` (room for `largest`), returns its length. */
size_t workload_fill(const struct workload *w, uint32_t index, uint8_t *out);

/* The checksum of message `index` as received; those of all messages are added up, in whatever order they came. */
uint64_t workload_sum(uint32_t index, const uint8_t *data, size_t length);

#endif

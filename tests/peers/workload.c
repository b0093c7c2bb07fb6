#include "workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t message_seed(uint64_t seed, uint32_t index)
{
	return mix(seed ^ (uint64_t)index * UINT64_C(0xd1342543de82ef95));
}

/* Sizes of all magnitudes alike: a random power of two, then a random length up to it. */
static uint32_t mixed_length(uint64_t seed, uint32_t index, uint32_t largest)
{
	uint64_t r = message_seed(seed, index);
	uint64_t length = 1 + (r >> 8) % (UINT64_C(1) << (r % 21));

	if (index == 0)
		return 1;
	if (index == 1)
		return largest;
	return length < largest ? (uint32_t)length : largest;
}

int workload_parse(struct workload *w, const char *text)
{
	uint64_t a, b, seed;

	memset(w, 0, sizeof(*w));
	if (strcmp(text, "none") == 0)
		return 0;
	if (sscanf(text, "fixed:%" SCNu64 ":%" SCNu64 ":%" SCNu64, &a, &b, &seed) == 3) {
		w->count = (uint32_t)b;
		w->largest = (uint32_t)a;
		w->total = a * b;
		w->seed = seed;
		w->lengths = calloc(w->count ? w->count : 1, sizeof(*w->lengths));
		for (uint32_t i = 0; i < w->count; i++)
			w->lengths[i] = (uint32_t)a;
		return a > 0 ? 0 : -1;
	}
	if (sscanf(text, "mixed:%" SCNu64 ":%" SCNu64 ":%" SCNu64, &a, &b, &seed) == 3) {
		if (b == 0)
			return -1;
		w->largest = (uint32_t)b;
		w->seed = seed;
		w->mixed = 1;
		while (w->total < a) {
			uint64_t length = mixed_length(seed, w->count, (uint32_t)b);

			if (length > a - w->total)
				length = a - w->total;
			w->lengths = realloc(w->lengths, (w->count + 1) * sizeof(*w->lengths));
			w->lengths[w->count++] = (uint32_t)length;
			w->total += length;
		}
		return 0;
	}
	return -1;
}

uint16_t workload_stream(uint32_t index, uint16_t streams)
{
	return (uint16_t)(index % streams);
}

int workload_unordered(const struct workload *w, uint32_t index)
{
	return w->mixed && index % 8 == 5;
}

size_t workload_fill(const struct workload *w, uint32_t index, uint8_t *out)
{
	uint64_t word = message_seed(w->seed, index);
	size_t length = w->lengths[index];

	for (size_t at = 0; at < length; at += 8) {
		uint8_t bytes[8];
		size_t n = length - at < 8 ? length - at : 8;

		word = word * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		for (int k = 0; k < 8; k++)
			bytes[k] = (uint8_t)(word >> (56 - 8 * k));
		memcpy(out + at, bytes, n);
	}
	return length;
}

uint64_t workload_sum(uint32_t index, const uint8_t *data, size_t length)
{
	uint64_t sum = mix(((uint64_t)index << 32) | length);

	for (size_t at = 0; at < length; at += 8) {
		uint64_t word = 0;
		size_t n = length - at < 8 ? length - at : 8;

		for (size_t k = 0; k < n; k++)
			word |= (uint64_t)data[at + k] << (56 - 8 * k);
		sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 29;
	}
	return sum;
}

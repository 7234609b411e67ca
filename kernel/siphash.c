// SPDX-License-Identifier: BSD-2-Clause
// SipHash-2-4, see the header. Names are the paper's.
#include "kernel/siphash.h"
#include "kernel/kstring.h"

struct sip_state {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate_left(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct sip_state *s)
{
	s->v0 += s->v1;
	s->v1 = rotate_left(s->v1, 13) ^ s->v0;
	s->v0 = rotate_left(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate_left(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate_left(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate_left(s->v1, 17) ^ s->v2;
	s->v2 = rotate_left(s->v2, 32);
}

static inline void sip_word(struct sip_state *s, uint64_t m)
{
	s->v3 ^= m;
	sip_round(s);
	sip_round(s);
	s->v0 ^= m;
}

static inline struct sip_state sip_start(const struct siphash_key *key)
{
	return (struct sip_state){
	    .v0 = key->k0 ^ 0x736f6d6570736575,
	    .v1 = key->k1 ^ 0x646f72616e646f6d,
	    .v2 = key->k0 ^ 0x6c7967656e657261,
	    .v3 = key->k1 ^ 0x7465646279746573,
	};
}

static inline uint64_t sip_end(struct sip_state *s)
{
	s->v2 ^= 0xff;
	for (unsigned i = 0; i < 4; i++)
		sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t siphash_word(const struct siphash_key *key, uint64_t word)
{
	struct sip_state s = sip_start(key);

	sip_word(&s, word);
	sip_word(&s, 8UL << 56);
	return sip_end(&s);
}

uint64_t siphash(const struct siphash_key *key, const void *data, size_t len)
{
	struct sip_state s = sip_start(key);
	const uint8_t *from = data;
	uint64_t m;

	for (size_t left = len; left >= 8; left -= 8, from += 8) {
		memcpy(&m, from, 8);
		sip_word(&s, m);
	}
	m = (uint64_t)len << 56;
	for (unsigned i = 0; i < len % 8; i++)
		m |= (uint64_t)from[i] << (8 * i);
	sip_word(&s, m);
	return sip_end(&s);
}

// SPDX-License-Identifier: BSD-2-Clause
// SipHash-2-4: a keyed hash of short inputs that nobody without the key can predict or steer
// (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012). For sequence numbers, hash seeds.
#pragma once

#include "kernel/base.h"

struct siphash_key {
	uint64_t k0, k1; // little-endian halves of the paper's 16-byte key
};

// Any context. Pure.
uint64_t siphash(const struct siphash_key *key, const void *data, size_t len);
// The same of the eight bytes of a word.
uint64_t siphash_word(const struct siphash_key *key, uint64_t word);

// SPDX-License-Identifier: BSD-2-Clause
// SipHash-2-4 against the vectors of its paper (appendix A: key 00..0f, message 00..len-1; and the first
// of the reference implementation's table).
// SOURCES: kernel/siphash.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/siphash.h"

static const struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

static void published_vectors(void **state)
{
	static const uint64_t expected[] = {
	    0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
	    0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
	    0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
	    0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
	};
	uint8_t message[16];

	for (unsigned i = 0; i < sizeof(message); i++)
		message[i] = i;
	for (unsigned len = 0; len < 16; len++)
		assert_true(siphash(&key, message, len) == expected[len]);
}

static void a_word_is_a_message_of_eight_bytes(void **state)
{
	for (uint64_t word = 1, n = 0; n < 100; word *= 3, n++)
		assert_true(siphash_word(&key, word) == siphash(&key, &word, sizeof(word)));
}

static void every_bit_of_the_key_counts(void **state)
{
	uint64_t plain = siphash(&key, "pagewire", 8);

	for (unsigned bit = 0; bit < 128; bit++) {
		struct siphash_key other = key;

		*(bit < 64 ? &other.k0 : &other.k1) ^= 1ULL << (bit % 64);
		assert_true(siphash(&other, "pagewire", 8) != plain);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(published_vectors),
	    cmocka_unit_test(a_word_is_a_message_of_eight_bytes),
	    cmocka_unit_test(every_bit_of_the_key_counts),
	};
	return cmocka_run_group_tests_name("siphash", tests, NULL, NULL);
}

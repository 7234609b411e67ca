// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/crc32.c
// Both checks against published vectors (the "123456789" check values of the CRC catalogue, RFC 3720
// appendix B.4) and against the bit-by-bit definition at every length and alignment.
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/crc32.h"
#include "kernel/kstring.h"

static uint32_t bitwise(uint32_t polynomial, uint32_t crc, const uint8_t *p, size_t len)
{
	for (; len; p++, len--) {
		crc ^= *p;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? polynomial : 0);
	}
	return crc;
}

static void published_check_values(void **state)
{
	uint8_t zeros[32] = {0}, ones[32];
	memset(ones, 0xff, sizeof ones);
	assert_int_equal(~crc32(~0u, "123456789", 9), 0xcbf43926);
	assert_int_equal(~crc32c(~0u, "123456789", 9), 0xe3069283);
	assert_int_equal(~crc32c(~0u, zeros, 32), 0x8a9136aa);
	assert_int_equal(~crc32c(~0u, ones, 32), 0x62a8ab43);
}

static void every_length_and_alignment_equals_the_definition(void **state)
{
	uint8_t data[160];
	srand(1);
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)rand();
	for (size_t start = 0; start < 9; start++)
		for (size_t len = 0; start + len <= sizeof data; len++) {
			const uint8_t *p = data + start;
			assert_int_equal(crc32(len, p, len), bitwise(0xedb88320, len, p, len));
			assert_int_equal(crc32c(~len, p, len), bitwise(0x82f63b78, ~len, p, len));
		}
}

static void pieces_chain_to_the_whole(void **state)
{
	const char *text = "the remainder so far goes in, the remainder after goes out";
	size_t len = strlen(text);
	for (size_t cut = 0; cut <= len; cut++)
		assert_int_equal(crc32c(crc32c(~0u, text, cut), text + cut, len - cut),
				 crc32c(~0u, text, len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(published_check_values),
	    cmocka_unit_test(every_length_and_alignment_equals_the_definition),
	    cmocka_unit_test(pieces_chain_to_the_whole),
	};
	return cmocka_run_group_tests_name("crc32", tests, NULL, NULL);
}

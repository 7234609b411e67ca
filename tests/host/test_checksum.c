// SPDX-License-Identifier: BSD-2-Clause
// The checksum loop against RFC 1071's own way of putting it, at every alignment and length, and through
// lwIP for chains of pbufs of odd lengths.
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
// ARCHIVES: build/host/libnet.a
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lwip/inet_chksum.h"
#include "lwip/pbuf.h"
#include "shim.h"

static uint8_t area[2048];

// Big-endian words, the carry added in at the end; in the byte order that the wire's words have in memory.
static uint16_t reference(const uint8_t *bytes, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint64_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return __builtin_bswap16((uint16_t)sum);
}

static void fill(unsigned kind)
{
	for (size_t i = 0; i < sizeof(area); i++)
		area[i] = kind == 0 ? 0 : kind == 1 ? 0xff : (uint8_t)shim_random();
}

static void every_alignment_and_length(void **state)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		fill(kind);
		for (size_t at = 0; at < 9; at++)
			for (size_t len = 0; len <= 200; len++)
				assert_int_equal(net_checksum(area + at, (int)len),
						 reference(area + at, len));
		for (size_t len = 1400; len <= 1520; len++)
			assert_int_equal(net_checksum(area + 2, (int)len),
					 reference(area + 2, len));
	}
}

static void chains_of_any_lengths(void **state)
{
	for (unsigned round = 0; round < 500; round++) {
		struct pbuf chain[5];
		size_t at = 0, total = 0;

		fill(2);
		memset(chain, 0, sizeof(chain));
		for (unsigned i = 0; i < 5; i++) {
			chain[i].len = (u16_t)shim_random_below(70);
			chain[i].payload = area + at;
			at += chain[i].len;
			total += chain[i].len;
			chain[i].next = i < 4 ? &chain[i + 1] : NULL;
		}
		for (unsigned i = 0; i < 5; i++) {
			chain[i].tot_len = (u16_t)total;
			total -= chain[i].len;
		}
		assert_int_equal(inet_chksum_pbuf(chain), (uint16_t)~reference(area, at));
	}
}

static void the_pseudo_header_counts_in_one_piece_and_in_two(void **state)
{
	for (unsigned round = 0; round < 1000; round++) {
		struct pbuf chain[2] = {0};
		ip_addr_t source = IPADDR4_INIT((u32_t)shim_random());
		ip_addr_t destination = IPADDR4_INIT((u32_t)shim_random());
		size_t len = shim_random_below(1460), cut = shim_random_below(len + 1);
		uint16_t expected;

		fill(2);
		memcpy(area, &ip_2_ip4(&source)->addr, 4);
		memcpy(area + 4, &ip_2_ip4(&destination)->addr, 4);
		memcpy(area + 8, (uint8_t[]){0, 6, (uint8_t)(len >> 8), (uint8_t)len}, 4);
		expected = (uint16_t)~reference(area, 12 + len);
		chain[0].payload = area + 12;
		chain[0].tot_len = chain[0].len = (u16_t)len;
		assert_int_equal(ip_chksum_pseudo(chain, 6, (u16_t)len, &source, &destination),
				 expected);
		chain[0].len = (u16_t)cut;
		chain[0].next = &chain[1];
		chain[1].payload = area + 12 + cut;
		chain[1].tot_len = chain[1].len = (u16_t)(len - cut);
		assert_int_equal(ip_chksum_pseudo(chain, 6, (u16_t)len, &source, &destination),
				 expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_alignment_and_length),
	    cmocka_unit_test(chains_of_any_lengths),
	    cmocka_unit_test(the_pseudo_header_counts_in_one_piece_and_in_two),
	};
	return cmocka_run_group_tests_name("checksum", tests, NULL, NULL);
}

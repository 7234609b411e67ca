// SPDX-License-Identifier: BSD-2-Clause
// Initial sequence numbers as RFC 6528 wants them, and the numbers behind LWIP_RAND.
// SOURCES: kernel/siphash.c net/random.c
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "hooks.h"
#include "net/random.h"
#include "shim.h"

static int setup(void **state)
{
	shim_init(64);
	net_random_init();
	return 0;
}

static int teardown(void **state)
{
	shim_finish();
	return 0;
}

static const ip_addr_t server = IPADDR4_INIT_BYTES(10, 0, 0, 1);
static const ip_addr_t client = IPADDR4_INIT_BYTES(10, 0, 0, 2);

static void the_same_tuple_ticks_every_four_microseconds(void **state)
{
	uint32_t first = tcp_initial_sequence(&server, 80, &client, 5000);

	assert_int_equal(tcp_initial_sequence(&server, 80, &client, 5000), first);
	shim_advance(4000);
	assert_int_equal(tcp_initial_sequence(&server, 80, &client, 5000), first + 1);
	shim_advance(NS_PER_SEC);
	assert_int_equal(tcp_initial_sequence(&server, 80, &client, 5000), first + 1 + 250000);
}

// What one peer sees of its own connections tells nothing of another's.
static void every_part_of_the_tuple_counts(void **state)
{
	const ip_addr_t other = IPADDR4_INIT_BYTES(10, 0, 0, 3);
	uint32_t seen[5] = {
	    tcp_initial_sequence(&server, 80, &client, 5000),
	    tcp_initial_sequence(&server, 80, &client, 5001),
	    tcp_initial_sequence(&server, 81, &client, 5000),
	    tcp_initial_sequence(&server, 80, &other, 5000),
	    tcp_initial_sequence(&other, 80, &client, 5000),
	};

	for (unsigned i = 0; i < 5; i++)
		for (unsigned j = 0; j < i; j++)
			assert_true((uint32_t)(seen[i] - seen[j]) > 1000 &&
				    (uint32_t)(seen[j] - seen[i]) > 1000);
}

static void ipv6_addresses_count_whole(void **state)
{
	ip_addr_t a = IPADDR6_INIT(1, 2, 3, 4), b = IPADDR6_INIT(1, 2, 3, 5);

	assert_int_not_equal(tcp_initial_sequence(&a, 80, &a, 1),
			     tcp_initial_sequence(&a, 80, &b, 1));
}

static void another_boot_has_another_secret(void **state)
{
	uint32_t first = tcp_initial_sequence(&server, 80, &client, 5000);

	net_random_init();
	assert_int_not_equal(tcp_initial_sequence(&server, 80, &client, 5000), first);
}

static void numbers_do_not_repeat(void **state)
{
	uint32_t ones[32] = {0};

	for (unsigned i = 0; i < 4096; i++) {
		uint32_t value = net_random32();

		for (unsigned bit = 0; bit < 32; bit++)
			ones[bit] += value >> bit & 1;
	}
	for (unsigned bit = 0; bit < 32; bit++)
		assert_in_range(ones[bit], 1800, 2300); // 2,048 give or take 8 sigma
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_same_tuple_ticks_every_four_microseconds),
	    TEST(every_part_of_the_tuple_counts),
	    TEST(ipv6_addresses_count_whole),
	    TEST(another_boot_has_another_secret),
	    TEST(numbers_do_not_repeat),
	};
	return cmocka_run_group_tests_name("net_random", tests, NULL, NULL);
}

// SPDX-License-Identifier: BSD-2-Clause
// The `ip=` word of the command line.
// SOURCES: net/ipline.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "net/ipline.h"

#define ADDRESS(a, b, c, d) ((uint32_t)(a) | (b) << 8 | (c) << 16 | (uint32_t)(d) << 24)

static struct ip_line line;

static void methods(void **state)
{
	static const struct {
		const char *text;
		enum ip_method method;
	} cases[] = {
	    {"dhcp", IP_DHCP},
	    {"on", IP_DHCP},
	    {"any", IP_DHCP},
	    {"off", IP_OFF},
	    {"none", IP_OFF},
	    {"::::::dhcp", IP_DHCP},
	    {"::::box:eth0:dhcp", IP_DHCP},
	    {"10.0.0.1:::::eth0:off", IP_STATIC},
	    {"10.0.0.1", IP_STATIC},
	    {"10.0.0.1::10.0.0.2:255.255.255.0:::none", IP_STATIC},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!ip_line_parse(cases[i].text, &line))
			fail_msg("refused: %s", cases[i].text);
		assert_int_equal(line.method, cases[i].method);
	}
}

static void all_fields(void **state)
{
	assert_true(ip_line_parse(
	    "192.168.1.9:192.168.1.2:192.168.1.1:255.255.255.0:files:e1000.1:off", &line));
	assert_int_equal(line.client, ADDRESS(192, 168, 1, 9));
	assert_int_equal(line.gateway, ADDRESS(192, 168, 1, 1));
	assert_int_equal(line.mask, ADDRESS(255, 255, 255, 0));
	assert_string_equal(line.host, "files");
	assert_string_equal(line.device, "e1000.1");
}

static void no_mask_means_the_class(void **state)
{
	assert_true(ip_line_parse("10.1.2.3", &line));
	assert_int_equal(line.mask, ADDRESS(255, 0, 0, 0));
	assert_true(ip_line_parse("172.16.2.3:::", &line));
	assert_int_equal(line.mask, ADDRESS(255, 255, 0, 0));
	assert_true(ip_line_parse("192.168.2.3::::::off", &line));
	assert_int_equal(line.mask, ADDRESS(255, 255, 255, 0));
}

static void refused(void **state)
{
	static const char *const texts[] = {
	    "",
	    "dhpc",
	    "10",
	    "10.0.0",
	    "10.0.0.",
	    "10.0.0.0.1",
	    "10.0.0.256",
	    "10.0.0.1x",
	    "10.0.0.0001",
	    " 10.0.0.1",
	    "-1.0.0.1",
	    "0x0a.0.0.1",
	    "10.0.0.1::10.0.0:255.0.0.0:::off",
	    "10.0.0.1:::255.0.255.0:::off",
	    "10.0.0.1:::::eth0:static",
	    "10.0.0.1:::::eth0:off:8.8.8.8",
	    ":::::eth0:off",
	    "0.0.0.1",
	    "127.0.0.1",
	    "224.0.0.1",
	    "255.255.255.255",
	    "10.0.0.0:::255.255.255.0",
	    "10.0.0.255:::255.255.255.0",
	    "10.0.0.1::::a-name-that-is-longer-than-any-field",
	    "10.0.0.1:::::a-device-too-long:off",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		if (ip_line_parse(texts[i], &line))
			fail_msg("taken: \"%s\"", texts[i]);
}

static void point_to_point_masks_have_no_broadcast(void **state)
{
	assert_true(ip_line_parse("10.0.0.0:::255.255.255.254", &line));
	assert_true(ip_line_parse("10.0.0.7:::255.255.255.255", &line));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(methods),
	    cmocka_unit_test(all_fields),
	    cmocka_unit_test(no_mask_means_the_class),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(point_to_point_masks_have_no_broadcast),
	};
	return cmocka_run_group_tests_name("ipline", tests, NULL, NULL);
}

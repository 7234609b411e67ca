// SPDX-License-Identifier: BSD-2-Clause
// iperf3 of the distribution's static library (libiperf(3)): the program that its package has as a dynamic one.
#include <stdint.h>

#include <iperf_api.h>

int main(int argc, char **argv)
{
	struct iperf_test *t = iperf_new_test();
	int failed = 0;

	if (!t || iperf_defaults(t) < 0 || iperf_parse_arguments(t, argc, argv) < 0)
		return 64;
	if (iperf_get_test_role(t) == 's')
		while ((failed = iperf_run_server(t)) >=
		       -1) { // -1: that test failed, the next may be better
			if (failed)
				fprintf(stderr, "iperf3: %s\n", iperf_strerror(i_errno));
			iperf_reset_test(t);
		}
	else
		failed = iperf_run_client(t);
	if (failed)
		fprintf(stderr, "iperf3: %s\n", iperf_strerror(i_errno));
	iperf_free_test(t);
	return failed != 0;
}

// SPDX-License-Identifier: BSD-2-Clause
// See http_client.h.
#include "http_client.h"
#include "kernel/cmdline.h"
#include "kernel/kstat.h"

static struct http_config defaults;
unsigned client_inodes;
char client_text[2 * LARGE], client_content[LARGE];

extern const struct cmdline_option __start_cmdline_options[], __stop_cmdline_options[];

void client_writing(const char *value)
{
	for (const struct cmdline_option *o = __start_cmdline_options; o < __stop_cmdline_options;
	     o++)
		if (strcmp(o->key, "write") == 0)
			assert_true(o->parse(value));
}

void client_begin(const char *writing)
{
	if (!defaults.port)
		defaults = http_config;
	http_config = defaults;
	shim_init(16384);
	client_writing(writing);
	world_start();
}

int client_setup(void **state)
{
	client_begin("on");
	world_file("old", 10, SIZE);
	world_directory("d", 20);
	world_file("d/one", 21, 17);
	world_directory("d/deep", 22);
	world_file("d/deep/two", 23, 5);
	world_directory("empty", 24);
	client_inodes = world_inodes();
	return 0;
}

int client_teardown(void **state)
{
	world_finish();
	client_writing("off");
	shim_finish();
	return 0;
}

uint64_t client_metric(const char *name)
{
	return kstat_get(name, NULL);
}

void client_pass(uint64_t ms)
{
	uint64_t step = ms > 5000 ? 500 : 10;

	for (uint64_t i = 0; i < ms; i += step) {
		shim_advance(step * NS_PER_MS);
		world_settle();
	}
}

int client_status(const struct tcp_pcb *pcb)
{
	return pcb->out_len > 12 ? atoi(world_heard(pcb) + 9) : 0;
}

void client_says(const struct tcp_pcb *pcb, const char *what)
{
	if (!strstr(world_heard(pcb), what))
		fail_msg("not there: %s in %.400s", what, world_heard(pcb));
}

struct tcp_pcb *client_ask(const char *request, int status)
{
	struct tcp_pcb *pcb = world_connect(1);

	world_say(pcb, request, 0);
	world_settle();
	if (client_status(pcb) != status)
		fail_msg("%.60s: %.200s", request, world_heard(pcb));
	world_fin(pcb);
	world_settle();
	return pcb;
}

void client_fill(size_t len)
{
	for (size_t i = 0; i < len; i++)
		client_content[i] = (char)shim_random();
}

size_t client_put_head(const char *name, size_t len, bool chunked, const char *fields)
{
	if (chunked)
		return (size_t)sprintf(
		    client_text, "PUT /%s" H "Transfer-Encoding: chunked\r\n%s\r\n", name, fields);
	return (size_t)sprintf(client_text, "PUT /%s" H "Content-Length: %zu\r\n%s\r\n", name, len,
			       fields);
}

size_t client_put_body(size_t at, size_t len, bool chunked)
{
	size_t done = 0;

	if (!chunked) {
		memcpy(client_text + at, client_content, len);
		return at + len;
	}
	while (done < len) {
		size_t n = 1 + shim_random_below(MIN(len - done, (size_t)9000));
		at += (size_t)sprintf(client_text + at, "%zx\r\n", n);
		memcpy(client_text + at, client_content + done, n);
		at += n;
		at += (size_t)sprintf(client_text + at, "\r\n");
		done += n;
	}
	return at + (size_t)sprintf(client_text + at, "0\r\nX-Sum: 1\r\n\r\n");
}

void client_has_content(const char *path, size_t len)
{
	uint64_t size;
	const uint8_t *bytes = world_bytes(path, &size);

	assert_non_null(bytes);
	assert_int_equal(size, len);
	assert_memory_equal(bytes, client_content, len);
}

void client_left_old(void)
{
	uint64_t size;

	assert_null(world_bytes("old", &size));
	assert_int_equal(world_find("old")->number, 10);
	assert_int_equal(world_inodes(), client_inodes);
}

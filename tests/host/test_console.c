// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/console.c kernel/console_commands.c kernel/console_monitor.c kernel/lineedit.c
// SOURCES: drivers/terminal.c kernel/string.c kernel/cmdline.c
// The console as a whole: keys in as from an interrupt, a screen of 80 x 25 out, log lines in between.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "drivers/terminal.h"
#include "kernel/block.h"
#include "kernel/boot.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"
#include "kernel/console_private.h"
#include "kernel/cpu.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "kernel/serial.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/trace.h"
#include "kernel/wtd.h"
#include "shim.h"

#define COLUMNS 80
#define ROWS	25

static struct terminal screen;
static struct terminal_cell cells[COLUMNS * ROWS];
static const struct kprintf_guard *guard;
static char ran[200], order[200];
static unsigned powered_off, resets;
struct boot_info boot_info = {.loader = "test"};

void kprintf_emit(const char *text, size_t len)
{
	terminal_write(&screen, text, len);
}
void kprintf_set_guard(const struct kprintf_guard *new_guard)
{
	guard = new_guard;
}
static void log_piece(const char *text)
{
	size_t len = strlen(text);
	guard->before();
	terminal_write(&screen, text, len);
	guard->after(len && text[len - 1] == '\n');
}
void serial_set_receive(enum serial_port port, void (*fn)(void *ctx, uint8_t byte), void *ctx) {}
struct block_device *block_first(void)
{
	return NULL;
}
const char *cpu_features_text(void)
{
	return "nx";
}
const char *cpu_model_text(void)
{
	return "a processor";
}
void cpu_power_off(void)
{
	powered_off++;
	thread_sleep_ns(UINT64_MAX / 2);
	abort();
}
void cpu_reset(void)
{
	resets++;
	thread_sleep_ns(UINT64_MAX / 2);
	abort();
}
uint64_t cpu_idle_ns(unsigned cpu)
{
	return clock_ns() / 2;
}
void wtd_stats(unsigned cpu, enum wtd_class class, struct wtd_stats *out)
{
	*out = (struct wtd_stats){.workers = 8, .workers_max = 64};
}
void civil_from_unix(int64_t unix_seconds, struct civil_time *out)
{
	*out = (struct civil_time){.year = 2026, .month = 7, .day = 22};
}
static uint64_t connections = 3;
KSTAT_GAUGE(connections, "pagewire_tcp_connections_established", "For the test.");
void kstat_each(void (*visit)(const struct kstat *row, void *ctx), void *ctx)
{
	visit(&kstat_connections, ctx);
}
void kstat_write(void (*emit)(void *ctx, const char *format, ...), void *ctx)
{
	emit(ctx, "# HELP pagewire_a A.\n# TYPE pagewire_a gauge\npagewire_a %d\npage", 1);
	emit(ctx, "wire_b{x=\"%s\"} 2\n", "y");
}
void trace_dump(unsigned count, void (*line)(void *ctx, const char *text), void *ctx)
{
	char text[40];
	snprintf(text, sizeof text, "last %u events", count);
	line(ctx, text);
}

void kprintf_history(void (*visit)(void *ctx, const char *text, size_t len), void *ctx)
{
	visit(ctx, "old line\n", 9);
	visit(ctx, "new line\n", 9);
}

static void run_probe(int argc, char **argv)
{
	ran[0] = 0;
	for (int n = 0; n < argc; n++)
		snprintf(ran + strlen(ran), sizeof ran - strlen(ran), "[%s]", argv[n]);
}
CONSOLE_COMMAND(probe, "PROBE", "PROBE first second third", "Tests.", run_probe);
CONSOLE_COMMAND(probate, "PROBATE", "PROBATE", "Tests too.", run_probe);

// What the volume has to say at start: nothing here.
void console_autoexec(void) {}

static void step_b(void)
{
	strcat(order, "b");
}
static void step_a(void)
{
	strcat(order, "a");
}
static void step_c(void)
{
	strcat(order, "c");
}
SHUTDOWN_STEP(b, 20, "B", step_b);
SHUTDOWN_STEP(a, 10, "A", step_a);
SHUTDOWN_STEP(c, 20, "C", step_c);

static void section_late(void)
{
	console_printf("late section\n");
}
static void section_early(void)
{
	console_printf("early section\n");
}
CONSOLE_SECTION(late, "CONFIG", 20, section_late);
CONSOLE_SECTION(early, "CONFIG", 10, section_early);

static void type(const char *keys)
{
	for (; *keys; keys++)
		console_input((uint8_t)*keys);
	shim_run();
}

static const char *row(unsigned y)
{
	static char text[4][COLUMNS + 1];
	static unsigned next;
	char *out = text[next++ % 4];
	size_t end = 0;
	for (unsigned x = 0; x < COLUMNS; x++) {
		out[x] = (char)terminal_row(&screen, y)[x].code;
		if (out[x] != ' ')
			end = x + 1;
	}
	out[end] = 0;
	return out;
}

static bool shows(const char *text)
{
	for (unsigned y = 0; y < ROWS; y++)
		if (strstr(row(y), text))
			return true;
	return false;
}

static int fresh(void **state)
{
	type("\x15\x0c"); // erase the line, clear the screen
	assert_string_equal(row(0), ":");
	return 0;
}

static void words_reach_the_command(void **state)
{
	type("  probe  one two   \r");
	assert_string_equal(ran, "[probe][one][two]");
	assert_string_equal(row(1), ":");
	type("\r\r");
	assert_string_equal(row(3), ":");
}

static void unique_prefixes_are_accepted(void **state)
{
	type("Probe 1\r");
	assert_string_equal(ran, "[Probe][1]");
	type("proba\r");
	assert_string_equal(ran, "[proba]");
	type("prob\r");
	assert_true(shows("prob could be"));
	assert_true(shows("PROBE"));
	type("ver\r");
	assert_true(shows("started by test"));
}

static void an_unknown_command_names_the_nearest(void **state)
{
	type("voluems\r");
	assert_true(shows("voluems: unknown command; the nearest is VOLUMES"));
	type("\xff\xff\r");
	assert_true(shows("unknown command"));
}

static void a_long_usage_has_its_sentence_below(void **state)
{
	assert_string_equal(row(0), ":");
	type("help\r");
	for (unsigned y = 0; y + 1 < ROWS; y++) {
		if (strstr(row(y), "PROBE first second third")) {
			assert_null(strstr(row(y), "Tests."));
			assert_string_equal(row(y + 1), "                       Tests.");
			return;
		}
	}
	fail();
}

static void a_log_line_does_not_destroy_the_typed_one(void **state)
{
	type("half a li");
	log_piece("something happened\n");
	assert_string_equal(row(0), "something happened");
	assert_string_equal(row(1), ":half a li");
	log_piece("in two ");
	log_piece("pieces\n");
	assert_string_equal(row(1), "in two pieces");
	assert_string_equal(row(2), ":half a li");
	type("ne");
	assert_string_equal(row(2), ":half a line");
}

static void f1_helps_and_keeps_the_line(void **state)
{
	type("vol\x1bOP");
	assert_true(shows("VOLUMES"));
	assert_true(shows("HELP [command]"));
	assert_string_equal(row(screen.y), ":vol");
	type("\x15help trace\r");
	assert_true(shows("TRACE [count]"));
}

static void tab_completes_commands(void **state)
{
	type("pro\t");
	assert_string_equal(row(0), ":prob");
	type("e\t");
	assert_string_equal(row(0), ":probe");
	assert_int_equal(screen.x, 7);
}

static void sections_come_in_order(void **state)
{
	type("config\r");
	bool early = false;
	for (unsigned y = 0; y < ROWS; y++) {
		early = early || !strcmp(row(y), "early section");
		if (!strcmp(row(y), "late section"))
			assert_true(early);
	}
	assert_true(early);
}

static void statistics_by_prefix(void **state)
{
	type("stats b\r");
	assert_string_equal(row(1), "pagewire_b{x=\"y\"} 2");
	assert_string_equal(row(2), ":");
	type("\x0cstats pagewire_\r");
	assert_string_equal(row(1), "pagewire_a 1");
	type("stats nothing\r");
	assert_true(shows("No statistic begins with nothing."));
}

static void the_log_is_printed_oldest_first(void **state)
{
	type("log\r");
	assert_string_equal(row(1), "old line");
	assert_string_equal(row(2), "new line");
	assert_string_equal(row(3), ":");
}

static void trace_takes_a_count(void **state)
{
	type("trace 7\r");
	assert_true(shows("last 7 events"));
	type("trace x\r");
	assert_true(shows("x is not a count"));
}

static void the_monitor_is_redrawn_each_second_until_a_key(void **state)
{
	type("monitor\r");
	assert_true(shows("Utilization:             50 %"));
	assert_true(shows("Current Connections:    3"));
	connections = 12345;
	shim_advance(NS_PER_SEC + 1);
	assert_true(shows("Current Connections:    12345"));
	connections = 4;
	shim_advance(NS_PER_SEC + 1);
	assert_true(shows("Current Connections:    4 "));
	assert_false(shows("12345"));
	type("\x1b[A"); // an arrow key is one key
	shim_advance(NS_PER_SEC);
	assert_string_equal(row(0), ":");
	assert_false(screen.cursor_hidden);
}

static void more_keys_than_the_ring_holds_are_counted(void **state)
{
	uint64_t before = kstat_get("pagewire_console_lost_total", NULL);
	for (unsigned n = 0; n < 3000; n++)
		console_input('x');
	shim_run();
	assert_int_equal(kstat_get("pagewire_console_lost_total", NULL) - before, 3000 - 1024);
}

static void down_runs_the_steps_in_order_and_switches_off(void **state)
{
	type("down\r");
	assert_true(!strcmp(order, "abc") || !strcmp(order, "acb"));
	assert_int_equal(powered_off, 1);
	assert_true(shows("The server is down."));
}

static int set_up(void **state)
{
	shim_init(1024);
	terminal_init(&screen, cells, COLUMNS, ROWS);
	console_start();
	shim_run();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(words_reach_the_command, fresh),
	    cmocka_unit_test_setup(unique_prefixes_are_accepted, fresh),
	    cmocka_unit_test_setup(an_unknown_command_names_the_nearest, fresh),
	    cmocka_unit_test_setup(a_long_usage_has_its_sentence_below, fresh),
	    cmocka_unit_test_setup(a_log_line_does_not_destroy_the_typed_one, fresh),
	    cmocka_unit_test_setup(f1_helps_and_keeps_the_line, fresh),
	    cmocka_unit_test_setup(tab_completes_commands, fresh),
	    cmocka_unit_test_setup(sections_come_in_order, fresh),
	    cmocka_unit_test_setup(statistics_by_prefix, fresh),
	    cmocka_unit_test_setup(the_log_is_printed_oldest_first, fresh),
	    cmocka_unit_test_setup(trace_takes_a_count, fresh),
	    cmocka_unit_test_setup(the_monitor_is_redrawn_each_second_until_a_key, fresh),
	    cmocka_unit_test_setup(more_keys_than_the_ring_holds_are_counted, fresh),
	    cmocka_unit_test_setup(down_runs_the_steps_in_order_and_switches_off, fresh),
	};
	return cmocka_run_group_tests_name("console", tests, set_up, NULL);
}

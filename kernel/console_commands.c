// SPDX-License-Identifier: BSD-2-Clause
// The console's commands: finding the one that was typed, and those that the kernel itself has. Other
// layers add theirs, and their part of CONFIG, MEMORY, VOLUMES and MONITOR, as table rows (console.h).
// Console thread.
#include "kernel/block.h"
#include "kernel/boot.h"
#include "kernel/cmdline.h"
#include "kernel/console_private.h"
#include "kernel/cpu.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/timer.h"
#include "kernel/trace.h"
#include "kernel/version.h"

#define MAX_WORDS   16
#define LINE_BYTES  256
#define KB(frames)  ((unsigned long)(frames) << (PAGE_SHIFT - 10))
#define TRACE_LINES 20
#define HELP_COLUMN 20 // what is longer has its sentence on the next line

extern const struct console_command __start_console_commands[] __attribute__((weak));
extern const struct console_command __stop_console_commands[] __attribute__((weak));
extern const struct console_section __start_console_sections[] __attribute__((weak));
extern const struct console_section __stop_console_sections[] __attribute__((weak));
extern const struct shutdown_step __start_shutdown_steps[] __attribute__((weak));
extern const struct shutdown_step __stop_shutdown_steps[] __attribute__((weak));

#define FOR_EACH_COMMAND(c)                                                                        \
	for (const struct console_command *c = __start_console_commands;                           \
	     c < __stop_console_commands; c++)

static bool begins(const char *name, const char *word, size_t len)
{
	return kstrncasecmp(name, word, len) == 0;
}

// The command of that name, or the only one whose name begins so; null after saying what is wrong.
static const struct console_command *find_command(const char *word)
{
	const struct console_command *found = NULL, *nearest = NULL;
	size_t len = strlen(word);
	unsigned ways = 0, best = 0;
	char upper[LINE_BYTES];
	for (size_t n = 0; n <= len; n++)
		upper[n] = word[n] >= 'a' && word[n] <= 'z' ? (char)(word[n] - 'a' + 'A') : word[n];
	FOR_EACH_COMMAND(c)
	{
		if (strcmp(c->name, upper) == 0)
			return c;
		if (begins(c->name, word, len)) {
			found = c;
			ways++;
		}
		unsigned distance = edit_distance(upper, len, c->name, strlen(c->name));
		if (!nearest || distance < best) {
			nearest = c;
			best = distance;
		}
	}
	if (ways == 1)
		return found;
	if (!ways) {
		console_printf("%s: unknown command; the nearest is %s. HELP lists all.\n", word,
			       nearest->name);
		return NULL;
	}
	console_printf("%s could be", word);
	FOR_EACH_COMMAND(c)
	if (begins(c->name, word, len))
		console_printf(" %s", c->name);
	console_printf(".\n");
	return NULL;
}

void console_run(const char *line)
{
	char words[LINE_BYTES], *argv[MAX_WORDS];
	int argc = 0;
	kstrlcpy(words, line, sizeof words);
	for (char *p = words; *p && argc < MAX_WORDS;) {
		while (*p == ' ')
			*p++ = 0;
		if (!*p)
			break;
		argv[argc++] = p;
		while (*p && *p != ' ')
			p++;
	}
	if (!argc)
		return;
	const struct console_command *command = find_command(argv[0]);
	if (command)
		command->run(argc, argv);
}

unsigned console_complete(void *ctx, const char *text, size_t from, size_t to, char *add,
			  size_t size)
{
	unsigned ways = 0;
	add[0] = 0;
	if (from)
		return 0;
	FOR_EACH_COMMAND(c)
	{
		if (!begins(c->name, text, to))
			continue;
		const char *rest = c->name + to;
		size_t common = 0;
		while (ways && add[common] && add[common] == rest[common])
			common++;
		if (ways++)
			add[common] = 0;
		else
			kstrlcpy(add, rest, size);
	}
	for (char *p = add; to && text[to - 1] >= 'a' && *p; p++) // as it was begun
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	return ways;
}

// The row of the section table that comes after `last` in order, of the same command.
static const struct console_section *next_section(const char *command,
						  const struct console_section *last)
{
	const struct console_section *next = NULL;
	for (const struct console_section *s = __start_console_sections;
	     s < __stop_console_sections; s++) {
		if (strcmp(s->command, command) != 0)
			continue;
		if (last && (s->order < last->order || (s->order == last->order && s <= last)))
			continue;
		if (!next || s->order < next->order)
			next = s;
	}
	return next;
}

bool console_print_sections(const char *command)
{
	const struct console_section *section = NULL;
	bool any = false;
	while ((section = next_section(command, section))) {
		section->print();
		any = true;
	}
	return any;
}

void console_help(int argc, char **argv)
{
	if (argc > 1) {
		const struct console_command *command = find_command(argv[1]);
		if (command)
			console_printf("%s\n  %s\n", command->usage, command->help);
		return;
	}
	// In the order of their names, whatever the linker made of it.
	for (const char *last = "";;) {
		const struct console_command *next = NULL;
		FOR_EACH_COMMAND(c)
		if (strcmp(c->name, last) > 0 && (!next || strcmp(c->name, next->name) < 0))
			next = c;
		if (!next)
			break;
		console_printf("  %-*s ", HELP_COLUMN, next->usage);
		if (strlen(next->usage) > HELP_COLUMN)
			console_printf("\n  %-*s ", HELP_COLUMN, "");
		console_printf("%s\n", next->help);
		last = next->name;
	}
}
CONSOLE_COMMAND(help_command, "HELP", "HELP [command]",
		"Lists the commands, or explains one. F1 does too.", console_help);
CONSOLE_COMMAND(monitor_command, "MONITOR", "MONITOR",
		"Shows how the server is doing until a key is typed.", console_monitor);

static void run_version(int argc, char **argv)
{
	console_printf("Pagewire %s, x86-64, started by %s\n", PAGEWIRE_VERSION, boot_info.loader);
}
CONSOLE_COMMAND(version, "VERSION", "VERSION", "Prints what is running.", run_version);

static void run_clear(int argc, char **argv)
{
	console_clear();
}
CONSOLE_COMMAND(clear_command, "CLEAR", "CLEAR", "Clears the screen.", run_clear);

static void run_uptime(int argc, char **argv)
{
	uint64_t s = clock_ns() / NS_PER_SEC;
	console_printf("Up for %lu days %02lu:%02lu:%02lu.\n", (unsigned long)(s / 86400),
		       (unsigned long)(s / 3600 % 24), (unsigned long)(s / 60 % 60),
		       (unsigned long)(s % 60));
}
CONSOLE_COMMAND(uptime, "UPTIME", "UPTIME", "Prints for how long the server has been up.",
		run_uptime);

static void run_time(int argc, char **argv)
{
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	struct civil_time t;
	civil_from_unix((int64_t)(clock_realtime_ns() / NS_PER_SEC), &t);
	console_printf("%s %04d-%02u-%02u %02u:%02u:%02u UTC\n", days[t.weekday % 7], t.year,
		       t.month, t.day, t.hour, t.minute, t.second);
}
CONSOLE_COMMAND(time, "TIME", "TIME", "Prints date and time.", run_time);

static void run_disks(int argc, char **argv)
{
	if (!block_first())
		console_printf("No disks.\n");
	for (const struct block_device *d = block_first(); d; d = d->next)
		console_printf("%-12s %8lu MB, %4u-byte sectors, %2u at once, %lu errors  %s %s\n",
			       d->name, (unsigned long)(d->sectors >> (20 - SECTOR_SHIFT)),
			       d->sector_bytes, d->queue_depth, (unsigned long)d->errors, d->model,
			       d->serial);
}
CONSOLE_COMMAND(disks, "DISKS", "DISKS", "Lists disks and partitions.", run_disks);

static void run_config(int argc, char **argv)
{
	run_version(1, NULL);
	console_printf("Processor: %s\n  features used: %s\nCommand line: %s\n", cpu_model_text(),
		       cpu_features_text(), *cmdline_text() ? cmdline_text() : "(empty)");
	run_disks(1, NULL);
	console_print_sections("CONFIG");
}
CONSOLE_COMMAND(config, "CONFIG", "CONFIG", "Shows the machine: processor, disks, network.",
		run_config);

static void run_memory(int argc, char **argv)
{
	struct pmm_stats m;
	pmm_stats(&m);
	console_printf("Memory: %lu KB, %lu KB free (%lu KB at the least), %lu KB kept in reserve, "
		       "%lu allocations refused\n",
		       KB(m.frames_total), KB(m.frames_free), KB(m.frames_free_low), KB(m.reserve),
		       (unsigned long)m.failed);
	console_print_sections("MEMORY");
	console_printf("Pools: %lu KB, %lu KB given back so far\n", KB(pool_frames()),
		       KB(pool_frames_given()));
	console_printf("%-24s %8s %8s %8s %8s %8s\n", "Pool", "bytes", "used", "most", "limit",
		       "refused");
	for (const struct pool *p = pool_first(); p; p = p->next)
		console_printf("%-24s %8lu %8u %8u %8u %8lu\n", p->name,
			       (unsigned long)p->object_bytes, p->used, pool_high(p), p->maximum,
			       (unsigned long)p->failed);
}
CONSOLE_COMMAND(memory, "MEMORY", "MEMORY", "Shows what memory is used for.", run_memory);

static void run_volumes(int argc, char **argv)
{
	if (!console_print_sections("VOLUMES"))
		console_printf("No volumes.\n");
}
CONSOLE_COMMAND(volumes, "VOLUMES", "VOLUMES", "Lists the volumes that are mounted.", run_volumes);

// Statistics come in pieces; lines are put together and those asked for printed.
struct stats_filter {
	const char *prefix;
	char line[LINE_BYTES];
	size_t len;
	unsigned printed;
};

static bool wanted(const struct stats_filter *f)
{
	const char *name = f->line, *house = "pagewire_";
	size_t len = strlen(f->prefix);
	if (name[0] == '#')
		return false;
	return strncmp(name, f->prefix, len) == 0 ||
	       (strncmp(name, house, strlen(house)) == 0 &&
		strncmp(name + strlen(house), f->prefix, len) == 0);
}

static void filter_stats(void *ctx, const char *format, ...) PRINTF_LIKE(2, 3);
static void filter_stats(void *ctx, const char *format, ...)
{
	struct stats_filter *f = ctx;
	char text[LINE_BYTES * 2];
	va_list args;
	va_start(args, format);
	kvsnprintf(text, sizeof text, format, args);
	va_end(args);
	for (const char *p = text; *p; p++) {
		if (*p != '\n') {
			if (f->len + 1 < sizeof f->line)
				f->line[f->len++] = *p;
			continue;
		}
		f->line[f->len] = 0;
		f->len = 0;
		if (wanted(f)) {
			console_printf("%s\n", f->line);
			f->printed++;
		}
	}
}

static void run_stats(int argc, char **argv)
{
	struct stats_filter filter = {.prefix = argc > 1 ? argv[1] : ""};
	kstat_write(filter_stats, &filter);
	if (!filter.printed)
		console_printf("No statistic begins with %s.\n", filter.prefix);
}
CONSOLE_COMMAND(stats, "STATS", "STATS [prefix]", "Prints statistics, all or those that begin so.",
		run_stats);

static void print_line(void *ctx, const char *text)
{
	bool *any = ctx;
	console_printf("%s\n", text);
	*any = true;
}

static void run_trace(int argc, char **argv)
{
	uint64_t count = TRACE_LINES;
	if (argc > 1 && (!kparse_u64(argv[1], strlen(argv[1]), &count) || count > UINT32_MAX)) {
		console_printf("TRACE [count]: %s is not a count.\n", argv[1]);
		return;
	}
	bool any = false;
	trace_dump((unsigned)count, print_line, &any);
	if (!any)
		console_printf("No events yet.\n");
}
CONSOLE_COMMAND(trace, "TRACE", "TRACE [count]", "Prints the last events of the flight recorder.",
		run_trace);

// The log may grow while it is printed: a copy is.
#define LOG_COPY_BYTES (64 << 10)
struct log_copy {
	char *text;
	size_t len;
};

static void copy_log(void *ctx, const char *text, size_t len)
{
	struct log_copy *copy = ctx;
	len = MIN(len, LOG_COPY_BYTES - copy->len);
	memcpy(copy->text + copy->len, text, len);
	copy->len += len;
}

static void run_log(int argc, char **argv)
{
	struct log_copy copy = {.text = kpages_alloc(LOG_COPY_BYTES)};
	if (!copy.text) {
		console_printf("No memory for a copy of the log.\n");
		return;
	}
	kprintf_history(copy_log, &copy);
	for (size_t at = 0; at < copy.len; at += 512)
		console_printf("%.*s", (int)MIN(copy.len - at, 512UL), copy.text + at);
	kpages_free(copy.text, LOG_COPY_BYTES);
}
CONSOLE_COMMAND(log, "LOG", "LOG",
		"Prints the kernel's log since the start, or what is left of it.", run_log);

static void shut_down(void)
{
	const struct shutdown_step *last = NULL;
	for (;;) {
		const struct shutdown_step *next = NULL;
		for (const struct shutdown_step *s = __start_shutdown_steps;
		     s < __stop_shutdown_steps; s++) {
			if (last &&
			    (s->stage < last->stage || (s->stage == last->stage && s <= last)))
				continue;
			if (!next || s->stage < next->stage)
				next = s;
		}
		if (!next)
			return;
		console_printf("%s ...", next->name);
		next->run();
		console_printf(" done\n");
		last = next;
	}
}

static void run_down(int argc, char **argv)
{
	shut_down();
	console_printf("The server is down. Power may be switched off.\n");
	cpu_power_off();
}
CONSOLE_COMMAND(down, "DOWN", "DOWN", "Ends all service, writes what is unwritten, switches off.",
		run_down);

static void run_restart(int argc, char **argv)
{
	shut_down();
	console_printf("Restarting.\n");
	cpu_reset();
}
CONSOLE_COMMAND(restart, "RESTART", "RESTART", "Like DOWN, but starts the machine again.",
		run_restart);

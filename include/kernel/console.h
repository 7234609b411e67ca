// SPDX-License-Identifier: BSD-2-Clause
// The system console: the first serial port and the screen show the same; the serial port and the
// keyboard take commands at a ':' prompt. A command is a row of a table, runs in the console's own
// thread and may sleep.
#pragma once

#include "kernel/base.h"

struct console_command {
	const char
	    *name; // upper case; the first word typed, any case; unique prefixes are accepted
	const char *usage; // "VOLUMES" / "TRACE [count]"
	const char *help;  // one sentence
	void (*run)(int argc, char **argv);
};
#define CONSOLE_COMMAND(id, name_text, usage_text, help_text, function)                            \
	static const struct console_command console_##id TABLE_ROW(console_commands) = {           \
	    .name = name_text, .usage = usage_text, .help = help_text, .run = function}

// Thread context, from a command's run.
void console_printf(const char *format, ...) PRINTF_LIKE(1, 2);
void console_clear(void);
// Waits up to ns for a key; -1 when none came. For live screens (MONITOR).
int console_key(uint64_t ns);

void console_start(void); // boot, last: starts the console's thread
// A character typed on the keyboard, keys that are no character as a VT100 sends them. Interrupt context.
void console_input(uint8_t byte);

// What DOWN and RESTART do before they stop the machine, in order of `stage`, smallest first: stop
// accepting, finish sending, write the cache, close volumes. May sleep; console thread.
struct shutdown_step {
	const char *name;
	int stage;
	void (*run)(void);
};
#define SHUTDOWN_STEP(id, stage_number, text, function)                                            \
	static const struct shutdown_step shutdown_##id TABLE_ROW(shutdown_steps) = {              \
	    .name = text, .stage = stage_number, .run = function}
// One line or more of a page of MONITOR and CONFIG: what a layer wants to show there.
struct console_section {
	const char *command; // "CONFIG", "MONITOR", "MEMORY" or "VOLUMES"
	int order;
	void (*print)(void); // uses console_printf
};
#define CONSOLE_SECTION(id, command_name, order_number, function)                                  \
	static const struct console_section console_section_##id TABLE_ROW(console_sections) = {   \
	    .command = command_name, .order = order_number, .print = function}

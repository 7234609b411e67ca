// SPDX-License-Identifier: BSD-2-Clause
// Between kernel/console.c (input, output, prompt), kernel/console_commands.c and
// kernel/console_monitor.c. Console thread only.
#pragma once

#include "kernel/console.h"

#define CONSOLE_COLUMNS 80

// A screen that is drawn over itself: the rest of each row is erased.
void console_live(bool on);
// Runs a line. Unknown and ambiguous commands are reported.
void console_run(const char *line);
void console_autoexec(void); // console thread, before the first prompt
// Completes a command's name: see struct lineedit.
unsigned console_complete(void *ctx, const char *text, size_t from, size_t to, char *add,
			  size_t size);
// Prints the sections of `command` in order; false: there are none.
bool console_print_sections(const char *command);
void console_help(int argc, char **argv);
void console_monitor(int argc, char **argv);

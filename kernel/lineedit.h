// SPDX-License-Identifier: BSD-2-Clause
// Editing one line: bytes from a keyboard or a serial terminal in, screen output out, a finished line
// at the end. Pure: it reads and prints through the caller. Keys arrive as a VT100 or xterm sends them.
//
//	left right home end, ctrl-B F A E     move          backspace delete, ctrl-H D   erase
//	up down, ctrl-P N                     history       ctrl-U K W                   erase to start, end, word
//	insert                                overwrite     ctrl-L                       clear the screen
//	tab                                   complete      ctrl-C                       give the line up
//
// A line longer than the screen scrolls sideways. Text outside ASCII is kept as bytes, shown as '?'.
#pragma once

#include "kernel/base.h"

#define LINEEDIT_BYTES	 256 // longest line, its end included
#define LINEEDIT_HISTORY 100

enum lineedit_event {
	LINE_NONE,
	LINE_DONE,  // `text` is the line; call lineedit_start for the next one
	LINE_HELP,  // F1
	LINE_CLEAR, // ctrl-L: the screen is to be cleared and lineedit_show called
};

enum lineedit_escape { KEY_PLAIN, KEY_ESC, KEY_CSI, KEY_SS3, KEY_LINUX_FUNCTION };

struct lineedit {
	// The caller's.
	const char *prompt;
	unsigned columns;
	void (*write)(void *ctx, const char *text, size_t len);
	// Completes the word that is text[from, to): returns how many ways there are, and in `add` what
	// they all go on with (terminated; may be empty).
	unsigned (*complete)(void *ctx, const char *text, size_t from, size_t to, char *add,
			     size_t size);
	void *ctx;

	char text[LINEEDIT_BYTES];
	size_t len, cursor;
	bool overwrite;
	enum lineedit_escape escape;
	unsigned escape_number;
	bool was_return; // CR came last: an LF right behind it is the same key
	char history[LINEEDIT_HISTORY][LINEEDIT_BYTES];
	unsigned history_count, history_next; // ring: lines kept, where the next one goes
	unsigned history_back;		      // how far up we are, 0: the line being written
	char draft[LINEEDIT_BYTES];	      // that line, while we are up
};

// Fields of the caller's are set. Prints the prompt.
void lineedit_start(struct lineedit *e);
enum lineedit_event lineedit_byte(struct lineedit *e, uint8_t byte);
void lineedit_hide(struct lineedit *e); // takes prompt and line off the screen
void lineedit_show(struct lineedit *e); // prints them again, cursor in place

// SPDX-License-Identifier: BSD-2-Clause
// A terminal's memory: text and ECMA-48 control sequences in, a grid of cells out. Pure: it knows no
// screen; drivers/screen.c paints the cells. What it understands is what the console and MONITOR use:
//	BS HT LF CR, CSI A B C D G H f J K m s u, and CSI ?25h/l (cursor); UTF-8.
// LF also returns the carriage, as the kernel's "\n" means.
#pragma once

#include "kernel/base.h"

#define TERMINAL_MAX_PARAMETERS 8

struct terminal_cell {
	uint16_t code;	   // Unicode
	uint8_t attribute; // as the VGA's: background << 4 | foreground
	uint8_t reserved;
};
#define TERMINAL_NORMAL 0x07

enum terminal_state { TERMINAL_TEXT, TERMINAL_ESCAPE, TERMINAL_CSI };

struct terminal {
	unsigned columns, rows;
	struct terminal_cell *cells; // rows x columns; row r is at (first_row + r) % rows
	unsigned first_row;	     // scrolling moves this, not the cells
	unsigned x, y;		     // cursor; x == columns: the next character starts a new line
	unsigned saved_x, saved_y;
	bool cursor_hidden;
	uint8_t attribute;
	bool bold, reverse;
	uint8_t foreground, background;
	enum terminal_state state;
	unsigned parameters[TERMINAL_MAX_PARAMETERS], parameter_count;
	bool private;  // CSI ?
	uint32_t code; // UTF-8 sequence so far
	unsigned code_left;
	uint64_t lost;			   // control sequences not understood
	unsigned changed_from, changed_to; // rows whose cells were written since terminal_changed
};

// The caller brings the memory: columns x rows cells.
void terminal_init(struct terminal *t, struct terminal_cell *cells, unsigned columns,
		   unsigned rows);
void terminal_write(struct terminal *t, const char *text, size_t len);
// The rows from .. to-1 hold all cells that may show something else than at the last call; none: from >= to.
void terminal_changed(struct terminal *t, unsigned *from, unsigned *to);
static inline struct terminal_cell *terminal_row(const struct terminal *t, unsigned row)
{
	return t->cells + (t->first_row + row) % t->rows * t->columns;
}

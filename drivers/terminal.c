// SPDX-License-Identifier: BSD-2-Clause
// See terminal.h. ECMA-48 fifth edition for the sequences, VT100 for the wrap at the last column. What
// comes in may be anything (volume labels reach the screen): no input leads outside the grid.
#include "drivers/terminal.h"

#define TAB		   8
#define PARAMETER_MAX	   9999
#define REPLACEMENT	   '?'
#define DEFAULT_FOREGROUND 7
#define DEFAULT_BACKGROUND 0
#define BRIGHT		   8

static void set_attribute(struct terminal *t)
{
	uint8_t front = t->foreground, back = t->background;
	if (t->bold)
		front |= BRIGHT;
	t->attribute = t->reverse ? (uint8_t)(front << 4 | back) : (uint8_t)(back << 4 | front);
}

static void reset_attribute(struct terminal *t)
{
	t->foreground = DEFAULT_FOREGROUND;
	t->background = DEFAULT_BACKGROUND;
	t->bold = false;
	t->reverse = false;
	set_attribute(t);
}

static void mark_changed(struct terminal *t, unsigned from, unsigned to)
{
	t->changed_from = MIN(t->changed_from, from);
	t->changed_to = MAX(t->changed_to, to);
}

void terminal_changed(struct terminal *t, unsigned *from, unsigned *to)
{
	*from = t->changed_from;
	*to = t->changed_to;
	t->changed_from = t->rows;
	t->changed_to = 0;
}

static void clear(struct terminal *t, unsigned row, unsigned from, unsigned to)
{
	struct terminal_cell *cells = terminal_row(t, row);
	for (unsigned x = from; x < to; x++)
		cells[x] = (struct terminal_cell){.code = ' ', .attribute = TERMINAL_NORMAL};
	mark_changed(t, row, row + 1);
}

static void clear_rows(struct terminal *t, unsigned from, unsigned to)
{
	for (unsigned row = from; row < to; row++)
		clear(t, row, 0, t->columns);
}

void terminal_init(struct terminal *t, struct terminal_cell *cells, unsigned columns, unsigned rows)
{
	*t = (struct terminal){.cells = cells, .columns = columns, .rows = rows};
	reset_attribute(t);
	clear_rows(t, 0, rows);
}

static void line_feed(struct terminal *t)
{
	t->x = 0;
	if (t->y + 1 < t->rows) {
		t->y++;
		return;
	}
	t->first_row = (t->first_row + 1) % t->rows;
	mark_changed(t, 0, t->rows);
	clear(t, t->rows - 1, 0, t->columns);
}

static void put_code(struct terminal *t, uint32_t code)
{
	if (t->x >= t->columns)
		line_feed(t);
	mark_changed(t, t->y, t->y + 1);
	terminal_row(t, t->y)[t->x++] = (struct terminal_cell){
	    .code = code > 0xffff ? REPLACEMENT : (uint16_t)code, .attribute = t->attribute};
}

static void control(struct terminal *t, uint8_t byte)
{
	switch (byte) {
	case '\b':
		t->x = MIN(t->x, t->columns - 1);
		t->x -= t->x > 0;
		break;
	case '\t':
		t->x = MIN(ALIGN_UP(t->x + 1, (unsigned)TAB), t->columns - 1);
		break;
	case '\n':
		line_feed(t);
		break;
	case '\r':
		t->x = 0;
		break;
	case 0x1b:
		t->state = TERMINAL_ESCAPE;
		break;
	}
}

// Continuation bytes that do not fit show as a question mark.
static void text_byte(struct terminal *t, uint8_t byte)
{
	if (t->code_left && (byte & 0xc0) == 0x80) {
		t->code = t->code << 6 | (byte & 0x3f);
		if (!--t->code_left)
			put_code(t, t->code);
		return;
	}
	if (t->code_left) {
		t->code_left = 0;
		put_code(t, REPLACEMENT);
	}
	if (byte < 0x20 || byte == 0x7f) {
		control(t, byte);
	} else if (byte < 0x80) {
		put_code(t, byte);
	} else if (byte >= 0xc2 && byte < 0xf5) {
		t->code_left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
		t->code = byte & (0x3fu >> t->code_left);
	} else {
		put_code(t, REPLACEMENT);
	}
}

// The n-th parameter; 0 and absent mean `absent`.
static unsigned parameter(const struct terminal *t, unsigned n, unsigned absent)
{
	return n < t->parameter_count && t->parameters[n] ? t->parameters[n] : absent;
}

static void move_to(struct terminal *t, unsigned x, unsigned y)
{
	t->x = MIN(x, t->columns - 1);
	t->y = MIN(y, t->rows - 1);
}

static void erase_display(struct terminal *t, unsigned what)
{
	unsigned x = MIN(t->x, t->columns);
	if (what == 0) {
		clear(t, t->y, x, t->columns);
		clear_rows(t, t->y + 1, t->rows);
	} else if (what == 1) {
		clear_rows(t, 0, t->y);
		clear(t, t->y, 0, MIN(x + 1, t->columns));
	} else if (what == 2) {
		clear_rows(t, 0, t->rows);
	}
}

static void erase_line(struct terminal *t, unsigned what)
{
	unsigned x = MIN(t->x, t->columns);
	if (what <= 2)
		clear(t, t->y, what ? 0 : x, what == 1 ? MIN(x + 1, t->columns) : t->columns);
}

// ANSI numbers colours red-green-blue from the lowest bit, the VGA blue-green-red.
static uint8_t vga_colour(unsigned ansi)
{
	return (uint8_t)((ansi & 1) << 2 | (ansi & 2) | (ansi & 4) >> 2);
}

static void select_rendition(struct terminal *t, unsigned code)
{
	if (code == 0)
		reset_attribute(t);
	else if (code == 1)
		t->bold = true;
	else if (code == 22)
		t->bold = false;
	else if (code == 7)
		t->reverse = true;
	else if (code == 27)
		t->reverse = false;
	else if (code >= 30 && code <= 37)
		t->foreground = vga_colour(code - 30);
	else if (code >= 90 && code <= 97)
		t->foreground = vga_colour(code - 90) | BRIGHT;
	else if (code >= 40 && code <= 47)
		t->background = vga_colour(code - 40);
	else if (code == 39)
		t->foreground = DEFAULT_FOREGROUND;
	else if (code == 49)
		t->background = DEFAULT_BACKGROUND;
	else
		t->lost++;
	set_attribute(t);
}

static void move_by_sequence(struct terminal *t, uint8_t final)
{
	unsigned n = parameter(t, 0, 1), x = MIN(t->x, t->columns - 1);
	if (final == 'A')
		move_to(t, x, t->y - MIN(n, t->y));
	else if (final == 'B')
		move_to(t, x, t->y + n);
	else if (final == 'C')
		move_to(t, x + n, t->y);
	else if (final == 'D')
		move_to(t, x - MIN(n, x), t->y);
	else if (final == 'G')
		move_to(t, n - 1, t->y);
	else
		move_to(t, parameter(t, 1, 1) - 1, n - 1);
}

static void execute(struct terminal *t, uint8_t final)
{
	switch (final) {
	case 'A':
	case 'B':
	case 'C':
	case 'D':
	case 'G':
	case 'H':
	case 'f':
		move_by_sequence(t, final);
		break;
	case 'J':
		erase_display(t, parameter(t, 0, 0));
		break;
	case 'K':
		erase_line(t, parameter(t, 0, 0));
		break;
	case 'm':
		for (unsigned n = 0; n < MAX(t->parameter_count, 1u); n++)
			select_rendition(t, parameter(t, n, 0));
		break;
	case 's':
		t->saved_x = t->x;
		t->saved_y = t->y;
		break;
	case 'u':
		move_to(t, t->saved_x, t->saved_y);
		break;
	case 'h':
	case 'l':
		if (t->private && parameter(t, 0, 0) == 25)
			t->cursor_hidden = final == 'l';
		break;
	default:
		t->lost++;
	}
}

static void csi_byte(struct terminal *t, uint8_t byte)
{
	unsigned *last = &t->parameters[t->parameter_count ? t->parameter_count - 1 : 0];
	if (byte >= '0' && byte <= '9') {
		t->parameter_count = MAX(t->parameter_count, 1u);
		*last = MIN(*last * 10 + (byte - '0'), (unsigned)PARAMETER_MAX);
	} else if (byte == ';') {
		t->parameter_count = MAX(t->parameter_count, 1u);
		if (t->parameter_count < TERMINAL_MAX_PARAMETERS)
			t->parameters[t->parameter_count++] = 0;
	} else if (byte == '?') {
		t->private = true;
	} else if (byte < 0x20) {
		t->state = TERMINAL_TEXT;
		control(t, byte);
	} else if (byte >= 0x40) {
		t->state = TERMINAL_TEXT;
		execute(t, byte);
	}
}

static void escape_byte(struct terminal *t, uint8_t byte)
{
	t->state = TERMINAL_TEXT;
	if (byte == '[') {
		t->state = TERMINAL_CSI;
		t->parameter_count = 0;
		t->parameters[0] = 0;
		t->private = false;
	} else if (byte < 0x20) {
		control(t, byte);
	} else {
		t->lost++;
	}
}

void terminal_write(struct terminal *t, const char *text, size_t len)
{
	for (; len; text++, len--) {
		uint8_t byte = (uint8_t)*text;
		if (t->state == TERMINAL_TEXT)
			text_byte(t, byte);
		else if (t->state == TERMINAL_ESCAPE)
			escape_byte(t, byte);
		else
			csi_byte(t, byte);
	}
}

// SPDX-License-Identifier: BSD-2-Clause
// See lineedit.h. The whole line is drawn anew after each change but the plainest, a character typed at
// the end; a terminal at 115200 baud does that in 8 ms at most.
#include "kernel/lineedit.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"

#define CTRL(c) ((c)-0x40)
#define DEL	0x7f

static void put(struct lineedit *e, const char *text)
{
	e->write(e->ctx, text, strlen(text));
}

static char shown(char c)
{
	return (uint8_t)c < ' ' || (uint8_t)c >= DEL ? '?' : c;
}

static size_t room(const struct lineedit *e)
{
	return e->columns - strlen(e->prompt) - 1;
}

// The part of the line that is on the screen: the cursor is always in it.
static size_t first_shown(const struct lineedit *e)
{
	return e->cursor > room(e) ? e->cursor - room(e) : 0;
}

void lineedit_show(struct lineedit *e)
{
	char line[LINEEDIT_BYTES + 32];
	size_t first = first_shown(e), len = 0, count = MIN(e->len - first, room(e));
	put(e, e->prompt);
	for (size_t n = 0; n < count; n++)
		line[len++] = shown(e->text[first + n]);
	memcpy(line + len, "\x1b[K", 3);
	len += 3;
	if (first + count > e->cursor)
		len += (size_t)ksnprintf(line + len, sizeof line - len, "\x1b[%uD",
					 (unsigned)(first + count - e->cursor));
	e->write(e->ctx, line, len);
}

void lineedit_hide(struct lineedit *e)
{
	put(e, "\r\x1b[K");
}

static void redraw(struct lineedit *e)
{
	put(e, "\r");
	lineedit_show(e);
}

static void new_line(struct lineedit *e)
{
	e->len = 0;
	e->cursor = 0;
	e->text[0] = 0;
	e->history_back = 0;
}

void lineedit_start(struct lineedit *e)
{
	new_line(e);
	e->escape = KEY_PLAIN;
	lineedit_show(e);
}

static void erase(struct lineedit *e, size_t from, size_t to)
{
	memmove(e->text + from, e->text + to, e->len - to + 1);
	e->len -= to - from;
	e->cursor = from;
	redraw(e);
}

static void insert(struct lineedit *e, char c)
{
	if (e->overwrite && e->cursor < e->len) {
		e->text[e->cursor++] = c;
		redraw(e);
		return;
	}
	if (e->len + 1 >= LINEEDIT_BYTES) {
		put(e, "\a");
		return;
	}
	memmove(e->text + e->cursor + 1, e->text + e->cursor, e->len - e->cursor + 1);
	e->text[e->cursor++] = c;
	e->len++;
	if (e->cursor == e->len && e->len < room(e)) {
		char one = shown(c);
		e->write(e->ctx, &one, 1);
	} else {
		redraw(e);
	}
}

static void set_text(struct lineedit *e, const char *text)
{
	kstrlcpy(e->text, text, sizeof e->text);
	e->len = strlen(e->text);
	e->cursor = e->len;
	redraw(e);
}

// back: 1 is the last line entered.
static const char *history_line(const struct lineedit *e, unsigned back)
{
	return e->history[(e->history_next + LINEEDIT_HISTORY - back) % LINEEDIT_HISTORY];
}

static void move_in_history(struct lineedit *e, bool up)
{
	if (up ? e->history_back == e->history_count : e->history_back == 0) {
		put(e, "\a");
		return;
	}
	if (e->history_back == 0)
		kstrlcpy(e->draft, e->text, sizeof e->draft);
	e->history_back += up ? 1 : (unsigned)-1;
	set_text(e, e->history_back ? history_line(e, e->history_back) : e->draft);
}

static void remember(struct lineedit *e)
{
	if (!e->len || (e->history_count && !strcmp(history_line(e, 1), e->text)))
		return;
	kstrlcpy(e->history[e->history_next], e->text, LINEEDIT_BYTES);
	e->history_next = (e->history_next + 1) % LINEEDIT_HISTORY;
	e->history_count = MIN(e->history_count + 1, (unsigned)LINEEDIT_HISTORY);
}

static enum lineedit_event finish(struct lineedit *e)
{
	put(e, "\n");
	remember(e);
	return LINE_DONE;
}

static void move(struct lineedit *e, size_t cursor)
{
	e->cursor = MIN(cursor, e->len);
	redraw(e);
}

static size_t word_start(const struct lineedit *e)
{
	size_t at = e->cursor;
	while (at && e->text[at - 1] == ' ')
		at--;
	while (at && e->text[at - 1] != ' ')
		at--;
	return at;
}

static void complete(struct lineedit *e)
{
	char add[LINEEDIT_BYTES];
	size_t from = e->cursor;
	while (from && e->text[from - 1] != ' ')
		from--;
	if (!e->complete)
		return;
	unsigned ways = e->complete(e->ctx, e->text, from, e->cursor, add, sizeof add);
	for (const char *p = add; ways && *p; p++)
		insert(e, *p);
	if (ways == 1)
		insert(e, ' ');
	else if (!ways || !add[0])
		put(e, "\a");
}

static enum lineedit_event control(struct lineedit *e, uint8_t byte)
{
	switch (byte) {
	case CTRL('A'):
		move(e, 0);
		break;
	case CTRL('B'):
		move(e, e->cursor - (e->cursor > 0));
		break;
	case CTRL('C'):
		put(e, "^C\n");
		lineedit_start(e);
		break;
	case CTRL('D'):
		if (e->cursor < e->len)
			erase(e, e->cursor, e->cursor + 1);
		break;
	case CTRL('E'):
		move(e, e->len);
		break;
	case CTRL('F'):
		move(e, e->cursor + 1);
		break;
	case CTRL('H'):
	case DEL:
		if (e->cursor)
			erase(e, e->cursor - 1, e->cursor);
		break;
	case CTRL('I'):
		complete(e);
		break;
	case CTRL('J'):
	case CTRL('M'):
		return finish(e);
	case CTRL('K'):
		erase(e, e->cursor, e->len);
		break;
	case CTRL('L'):
		return LINE_CLEAR;
	case CTRL('N'):
	case CTRL('P'):
		move_in_history(e, byte == CTRL('P'));
		break;
	case CTRL('U'):
		erase(e, 0, e->cursor);
		break;
	case CTRL('W'):
		erase(e, word_start(e), e->cursor);
		break;
	}
	return LINE_NONE;
}

// CSI A..D F H, and SS3 with the same letters.
static enum lineedit_event letter_key(struct lineedit *e, uint8_t letter)
{
	switch (letter) {
	case 'A':
		return control(e, CTRL('P'));
	case 'B':
		return control(e, CTRL('N'));
	case 'C':
		return control(e, CTRL('F'));
	case 'D':
		return control(e, CTRL('B'));
	case 'F':
		return control(e, CTRL('E'));
	case 'H':
		return control(e, CTRL('A'));
	case 'P':
		return LINE_HELP;
	}
	return LINE_NONE;
}

// CSI number ~
static enum lineedit_event numbered_key(struct lineedit *e)
{
	switch (e->escape_number) {
	case 1:
	case 7:
		return control(e, CTRL('A'));
	case 2:
		e->overwrite = !e->overwrite;
		break;
	case 3:
		return control(e, CTRL('D'));
	case 4:
	case 8:
		return control(e, CTRL('E'));
	case 11:
		return LINE_HELP;
	}
	return LINE_NONE;
}

static enum lineedit_event csi_byte(struct lineedit *e, uint8_t byte)
{
	if (byte >= '0' && byte <= '9') {
		e->escape_number = MIN(e->escape_number * 10 + (byte - '0'), 1000u);
		return LINE_NONE;
	}
	if (byte == ';') { // modifiers follow: shift, ctrl; the key is what counts
		e->escape_number = MIN(e->escape_number * 1000, 1000u);
		return LINE_NONE;
	}
	if (byte == '[') {
		e->escape = KEY_LINUX_FUNCTION;
		return LINE_NONE;
	}
	e->escape = KEY_PLAIN;
	return byte == '~' ? numbered_key(e) : letter_key(e, byte);
}

static enum lineedit_event escape_byte(struct lineedit *e, uint8_t byte)
{
	enum lineedit_escape state = e->escape;
	if (byte < ' ') { // a control character ends any sequence and counts itself
		e->escape = byte == 0x1b ? KEY_ESC : KEY_PLAIN;
		return byte == 0x1b ? LINE_NONE : control(e, byte);
	}
	if (state == KEY_CSI)
		return csi_byte(e, byte);
	e->escape = KEY_PLAIN;
	if (state == KEY_SS3)
		return letter_key(e, byte);
	if (state == KEY_LINUX_FUNCTION)
		return byte == 'A' ? LINE_HELP : LINE_NONE;
	if (byte == '[' || byte == 'O') {
		e->escape = byte == '[' ? KEY_CSI : KEY_SS3;
		e->escape_number = 0;
	}
	return LINE_NONE;
}

enum lineedit_event lineedit_byte(struct lineedit *e, uint8_t byte)
{
	bool after_return = e->was_return;
	e->was_return = byte == '\r';
	if (byte == '\n' && after_return)
		return LINE_NONE;
	if (e->escape != KEY_PLAIN)
		return escape_byte(e, byte);
	if (byte == 0x1b) {
		e->escape = KEY_ESC;
		return LINE_NONE;
	}
	if (byte < ' ' || byte == DEL)
		return control(e, byte);
	insert(e, (char)byte);
	return LINE_NONE;
}

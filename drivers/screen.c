// SPDX-License-Identifier: BSD-2-Clause
// The screen. Text goes through a terminal (drivers/terminal.c) into cells in ordinary memory; painting
// compares them with what was painted last and draws the cells that differ. Video memory is never read,
// scrolling redraws only what changed, and a burst of lines is painted once.
//
//	kprintf, console -> write_text: cells, dirty -> screen thread: paint
//
// The screen is touched for the first time by screen_show, when the machine serves, or a second after screen_start if
// that comes first: then the text that was logged so far is written. Before that nothing is to be seen, unless the
// machine is about to stop (it panics): then, and with screen=direct, write_text paints by itself.
#include "drivers/font.h"
#include "drivers/terminal.h"
#include "kernel/boot.h"
#include "kernel/cmdline.h"
#include "kernel/cpu.h"
#include "kernel/io.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "kernel/screen.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"
#include "kernel/wtd.h"

#define TEXT_ADDRESS	   0xb8000
#define TEXT_COLUMNS	   80
#define TEXT_ROWS	   25
#define CRTC_INDEX	   0x3d4 // VGA: colour mode's CRT controller
#define CRTC_CURSOR_START  0x0a
#define CRTC_CURSOR_HIGH   0x0e
#define CRTC_CURSOR_LOW	   0x0f
#define CURSOR_OFF	   0x20
#define CURSOR_UNDERLINE   0x0e // first of the two scan lines of the cursor
#define MAX_COLUMNS	   512
#define MAX_ROWS	   256
#define LARGE_SCREEN_WIDTH 2560 // from here on each dot of the font is two by two
#define FIRST_PAINT	   NS_PER_SEC
#define PAINT_INTERVAL	   (20 * NS_PER_MS)

static struct terminal terminal;    // (I) changed with interrupts off
static struct terminal_cell *cells; // the terminal's
static unsigned columns, rows;
static struct terminal_cell *painted; // what the screen shows, row by row
static uint8_t *video;
static unsigned scale = 1;
static bool framebuffer;
static uint32_t palette[16];

static bool opened;	   // (I) the terminal has the log's text, and the screen was cleared
static bool direct = true; // write_text paints
static bool wanted_direct; // constant after the command line
static bool dirty;	   // (I)
static bool due;	   // (wake_lock) the screen is to be opened
static void wake_painter(struct wtd *work);
static struct wtd wake_work = WTD_INIT(wake_painter, "screen");
static struct spinlock wake_lock = SPINLOCK_INIT("screen", RANK_HTTP);
static struct waitq wake_waitq; // (wake_lock)

static void put_pixels(uint8_t *at, uint32_t colour, unsigned count)
{
	switch (boot_info.fb_bpp) {
	case 32:
		for (; count; count--, at += 4)
			*(volatile uint32_t *)at = colour;
		break;
	case 24:
		for (; count; count--, at += 3) {
			at[0] = (uint8_t)colour;
			at[1] = (uint8_t)(colour >> 8);
			at[2] = (uint8_t)(colour >> 16);
		}
		break;
	default:
		for (; count; count--, at += 2)
			*(volatile uint16_t *)at = (uint16_t)colour;
	}
}

static void draw_glyph(unsigned x, unsigned y, struct terminal_cell cell)
{
	const uint8_t *glyph = font_glyph(cell.code);
	uint32_t front = palette[cell.attribute & 0x0f], back = palette[cell.attribute >> 4 & 0x0f];
	unsigned bytes = boot_info.fb_bpp / 8, step = bytes * scale;
	for (unsigned line = 0; line < FONT_HEIGHT * scale; line++) {
		uint8_t bits = glyph[line / scale];
		uint8_t *at = video +
			      (size_t)(y * FONT_HEIGHT * scale + line) * boot_info.fb_pitch +
			      (size_t)x * FONT_WIDTH * step;
		for (unsigned dot = 0; dot < FONT_WIDTH; dot++, at += step)
			put_pixels(at, bits & 0x80 >> dot ? front : back, scale);
	}
}

static void draw_text_cell(unsigned x, unsigned y, struct terminal_cell cell)
{
	uint8_t code = cell.code < 0x7f ? (uint8_t)cell.code : '?'; // code page 437 ends with ASCII
	// Bit 7 of the attribute would blink.
	((volatile uint16_t *)video)[y * TEXT_COLUMNS + x] =
	    (uint16_t)((cell.attribute & 0x7f) << 8 | code);
}

static void paint_row(unsigned y)
{
	static struct terminal_cell row[MAX_COLUMNS]; // one painter at a time, or none after it
	struct terminal_cell *old = painted + (size_t)y * terminal.columns;
	bool on = irq_save();
	const struct terminal_cell *now = terminal_row(&terminal, y);
	// Most rows are as they were.
	if (terminal.y != y && !memcmp(now, old, terminal.columns * sizeof(*now))) {
		irq_restore(on);
		return;
	}
	for (unsigned x = 0; x < terminal.columns; x++)
		row[x] = now[x];
	if (framebuffer && !terminal.cursor_hidden && terminal.y == y) {
		struct terminal_cell *cell = &row[MIN(terminal.x, terminal.columns - 1)];
		cell->attribute = (uint8_t)(cell->attribute << 4 | cell->attribute >> 4);
	}
	irq_restore(on);
	for (unsigned x = 0; x < terminal.columns; x++) {
		if (row[x].code == old[x].code && row[x].attribute == old[x].attribute)
			continue;
		old[x] = row[x];
		if (framebuffer)
			draw_glyph(x, y, row[x]);
		else
			draw_text_cell(x, y, row[x]);
	}
}

static void write_crtc(uint8_t index, uint8_t value)
{
	outb(CRTC_INDEX, index);
	outb(CRTC_INDEX + 1, value);
}

// The rows that changed, and those that the cursor left and came to: most writes are one line.
static void paint(void)
{
	static unsigned cursor;
	unsigned from, to;
	bool on = irq_save();
	terminal_changed(&terminal, &from, &to);
	from = MIN(from, MIN(cursor, terminal.y));
	to = MAX(to, MAX(cursor, terminal.y) + 1);
	cursor = terminal.y;
	irq_restore(on);
	for (unsigned y = from; y < to; y++)
		paint_row(y);
	if (framebuffer)
		return;
	unsigned at = terminal.y * TEXT_COLUMNS + MIN(terminal.x, TEXT_COLUMNS - 1u);
	write_crtc(CRTC_CURSOR_START, terminal.cursor_hidden ? CURSOR_OFF : CURSOR_UNDERLINE);
	write_crtc(CRTC_CURSOR_HIGH, (uint8_t)(at >> 8));
	write_crtc(CRTC_CURSOR_LOW, (uint8_t)at);
}

static bool parse_screen(const char *value)
{
	wanted_direct = value && !strcmp(value, "direct");
	return wanted_direct;
}
CMDLINE_OPTION(screen, "screen", "screen=direct   show each line as it is said: where a boot hangs",
	       parse_screen);

static void write_text(struct kprintf_sink *sink, const char *text, size_t len)
{
	if (!opened) // it is in the log
		return;
	terminal_write(&terminal, text, len);
	if (direct) {
		paint();
		return;
	}
	if (!dirty) {
		dirty = true;
		wtd_post_fast(&wake_work);
	}
}

static void clear_screen(void)
{
	memset(painted, 0, (size_t)columns * rows * sizeof(*painted)); // equal to no cell
	if (!framebuffer)
		return;
	for (unsigned line = 0; line < boot_info.fb_height; line++)
		put_pixels(video + (size_t)line * boot_info.fb_pitch, palette[0],
			   boot_info.fb_width);
}

static void write_history(void *ctx, const char *text, size_t len)
{
	terminal_write(&terminal, text, len);
}

static void open_screen(void)
{
	bool on;

	clear_screen();
	on = irq_save();
	terminal_init(&terminal, cells, columns, rows);
	kprintf_history(write_history, NULL);
	opened = true;
	irq_restore(on);
	paint();
}

// The machine is about to stop, and what it still says must be seen at once. A row that the thread was
// painting is painted again.
static void paint_last_words(struct kprintf_sink *sink)
{
	direct = true;
	if (!opened) {
		open_screen();
		return;
	}
	terminal.changed_from = 0;
	terminal.changed_to = terminal.rows;
	for (size_t n = 0; n < (size_t)terminal.columns * terminal.rows; n++)
		painted[n].code = 0;
	paint();
}

static struct kprintf_sink sink = {.write = write_text, .flush = paint_last_words};

static void wake_painter(struct wtd *work)
{
	due = true;
	waitq_wake_one(&wake_waitq);
}

static void painter(void *arg)
{
	spin_lock_wtd(&wake_lock);
	while (!due)
		waitq_sleep(&wake_waitq, &wake_lock);
	spin_unlock_wtd(&wake_lock);
	open_screen();
	for (;;) {
		spin_lock_wtd(&wake_lock);
		while (!dirty)
			waitq_sleep(&wake_waitq, &wake_lock);
		dirty = false;
		spin_unlock_wtd(&wake_lock);
		paint();
		thread_sleep_ns(PAINT_INTERVAL);
	}
}

void screen_start(void)
{
	if (!video || opened)
		return;
	waitq_init(&wake_waitq);
	if (!thread_create("screen", THREAD_NORMAL, painter, NULL)) {
		open_screen();
		return;
	}
	direct = false;
	wtd_post_after(&wake_work, WTD_FAST, FIRST_PAINT);
}

void screen_show(void)
{
	if (video && !direct)
		wtd_post_fast(&wake_work);
}

static bool make_grid(void)
{
	size_t count = (size_t)columns * rows;

	cells = kpages_alloc_raw(2 * count * sizeof(*cells));
	painted = cells + count;
	return cells;
}

// The sixteen VGA colours in the framebuffer's format.
static void make_palette(void)
{
	for (unsigned n = 0; n < 16; n++) {
		uint32_t low = n & 8 ? 0x55 : 0, high = n & 8 ? 0xff : 0xaa;
		uint32_t red = n & 4 ? high : low, green = n & 2 ? high : low;
		uint32_t blue = n & 1 ? high : low;
		if (n == 6)
			green = 0x55; // brown, as on a VGA
		if (boot_info.fb_bpp == 16) {
			red >>= 3;
			green >>= 2;
			blue >>= 3;
		}
		palette[n] = red << boot_info.fb_red_shift | green << boot_info.fb_green_shift |
			     blue << boot_info.fb_blue_shift;
	}
}

static bool start_framebuffer(void)
{
	const struct boot_info *b = &boot_info;
	if (b->fb_bpp != 16 && b->fb_bpp != 24 && b->fb_bpp != 32)
		return false;
	if (b->fb_pitch < b->fb_width * (b->fb_bpp / 8))
		return false;
	scale = b->fb_width >= LARGE_SCREEN_WIDTH ? 2 : 1;
	columns = MIN(b->fb_width / (FONT_WIDTH * scale), (unsigned)MAX_COLUMNS);
	rows = MIN(b->fb_height / (FONT_HEIGHT * scale), (unsigned)MAX_ROWS);
	if (columns < 20 || rows < 5 || !make_grid())
		return false;
	video = vmm_map_phys(b->framebuffer, (size_t)b->fb_pitch * b->fb_height, true);
	if (!video)
		return false;
	framebuffer = true;
	make_palette();
	return true;
}

static bool start_text(void)
{
	columns = TEXT_COLUMNS;
	rows = TEXT_ROWS;
	if (!make_grid())
		return false;
	video = vmm_map_phys(TEXT_ADDRESS, TEXT_COLUMNS * TEXT_ROWS * 2, false);
	return video != NULL;
}

void screen_init(void)
{
	bool there =
	    boot_info.framebuffer ? start_framebuffer() : boot_info.text_mode && start_text();
	if (there) {
		kprintf_add_sink(&sink);
		// Under test nothing is to run that the tests do not know of.
		if (wanted_direct || cmdline_selftest())
			open_screen();
	} else if (boot_info.framebuffer)
		kprintf("screen: framebuffer of %ux%u, %u bits, not used\n", boot_info.fb_width,
			boot_info.fb_height, boot_info.fb_bpp);
}

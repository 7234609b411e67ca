// SPDX-License-Identifier: BSD-2-Clause
// The PS/2 keyboard behind an i8042 controller (or what imitates one: QEMU, USB legacy support). The
// controller translates to scan code set 1; the layout is US. Keys that are no character become what a
// VT100 or xterm sends for them, so that the console has one kind of input.
#include "kernel/keyboard.h"
#include "kernel/acpi.h"
#include "kernel/boot.h"
#include "kernel/console.h"
#include "kernel/io.h"
#include "kernel/irq.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"

#define KEYBOARD_LINE	 1
#define PORT_DATA	 0x60
#define PORT_STATUS	 0x64 // read
#define PORT_COMMAND	 0x64 // write
#define STATUS_OUTPUT	 0x01 // a byte waits in PORT_DATA
#define STATUS_INPUT	 0x02 // the last byte written is not taken yet
#define STATUS_AUXILIARY 0x20 // the byte is the mouse's
#define COMMAND_READ	 0x20 // configuration byte
#define COMMAND_WRITE	 0x60
#define COMMAND_AUX_OFF	 0xa7
#define COMMAND_KBD_OFF	 0xad
#define COMMAND_KBD_ON	 0xae
#define CONFIG_KBD_IRQ	 0x01
#define CONFIG_AUX_IRQ	 0x02
#define CONFIG_KBD_CLOCK 0x10 // off when set
#define CONFIG_TRANSLATE 0x40
#define KBD_ENABLE	 0xf4
#define ANSWER_POLLS	 20000 // of a microsecond and more
#define MAX_STALE	 64

#define SCAN_EXTENDED 0xe0
#define SCAN_PAUSE    0xe1 // the first of the six bytes of this one key
#define SCAN_RELEASE  0x80

#define FADT_BOOT_FLAGS 109 // ACPI 6.4 table 5.9: IAPC_BOOT_ARCH
#define FADT_HAS_8042	0x02

static struct keyboard keyboard; // interrupt context only

size_t keyboard_decode(struct keyboard *k, uint8_t scan_code, char out[KEYBOARD_MAX_BYTES])
{
	// By scan code: what the key is without and with shift.
	static const char plain[] =
	    "\0\0331234567890-=\177\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0"
	    "*\0 ";
	static const char shifted[] =
	    "\0\033!@#$%^&*()_+\177\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
	static const struct {
		uint8_t scan_code;
		const char *bytes;
	} keys[] = {
	    {0x3b, "\033OP"},  {0x47, "\033[H"},  {0x48, "\033[A"},  {0x49, "\033[5~"},
	    {0x4b, "\033[D"},  {0x4d, "\033[C"},  {0x4f, "\033[F"},  {0x50, "\033[B"},
	    {0x51, "\033[6~"}, {0x52, "\033[2~"}, {0x53, "\033[3~"}, {0x4a, "-"},
	    {0x4e, "+"},
	};
	bool released = scan_code & SCAN_RELEASE, extended = k->extended;
	uint8_t code = scan_code & 0x7f;

	if (k->pause) {
		k->pause--;
		return 0;
	}
	if (scan_code == SCAN_PAUSE)
		k->pause = 5;
	k->extended = scan_code == SCAN_EXTENDED;
	if (scan_code == SCAN_PAUSE || scan_code == SCAN_EXTENDED)
		return 0;
	switch (code) {
	case 0x2a:
	case 0x36:
		if (!extended) // with the prefix it is no key but a part of Print Screen
			k->shift = !released;
		return 0;
	case 0x1d:
		k->control = !released;
		return 0;
	case 0x38:
		k->alt = !released;
		return 0;
	case 0x3a:
		k->caps_lock ^= !released;
		return 0;
	}
	if (released)
		return 0;
	for (size_t n = 0; n < ARRAY_SIZE(keys); n++)
		if (keys[n].scan_code == code) {
			size_t len = strlen(keys[n].bytes);
			memcpy(out, keys[n].bytes, len);
			return len;
		}
	if (code >= sizeof plain - 1 || !plain[code])
		return 0;
	bool letter = plain[code] >= 'a' && plain[code] <= 'z';
	char c = k->shift != (letter && k->caps_lock) ? shifted[code] : plain[code];
	if (extended) // the keypad's Enter and slash
		c = plain[code];
	if (k->control)
		c = (char)(c & 0x1f);
	out[0] = c;
	return 1;
}

static bool keyboard_interrupt(void *arg)
{
	bool ours = false;
	for (int n = 0; n < MAX_STALE; n++) {
		uint8_t status = inb(PORT_STATUS);
		if (!(status & STATUS_OUTPUT))
			break;
		uint8_t byte = inb(PORT_DATA);
		char out[KEYBOARD_MAX_BYTES];
		ours = true;
		if (status & STATUS_AUXILIARY)
			continue;
		size_t len = keyboard_decode(&keyboard, byte, out);
		for (size_t i = 0; i < len; i++)
			console_input((uint8_t)out[i]);
	}
	return ours;
}

static bool wait_status(uint8_t mask, uint8_t value)
{
	for (int polls = ANSWER_POLLS; polls; polls--) {
		if ((inb(PORT_STATUS) & mask) == value)
			return true;
		clock_delay_ns(NS_PER_US);
	}
	return false;
}

static bool send(uint16_t port, uint8_t byte)
{
	if (!wait_status(STATUS_INPUT, 0))
		return false;
	outb(port, byte);
	return true;
}

static void drop_stale(void)
{
	for (int n = 0; n < MAX_STALE && inb(PORT_STATUS) & STATUS_OUTPUT; n++)
		inb(PORT_DATA);
}

// ACPI says on newer machines that there is none; polling the ports of nothing could take long.
static bool firmware_has_controller(void)
{
	const struct acpi_header *fadt = acpi_find("FACP");
	if (!fadt || fadt->revision < 3 || fadt->length <= FADT_BOOT_FLAGS + 1)
		return true;
	return ((const uint8_t *)fadt)[FADT_BOOT_FLAGS] & FADT_HAS_8042;
}

static bool set_up_controller(void)
{
	if (inb(PORT_STATUS) == 0xff || !send(PORT_COMMAND, COMMAND_KBD_OFF) ||
	    !send(PORT_COMMAND, COMMAND_AUX_OFF))
		return false;
	drop_stale();
	if (!send(PORT_COMMAND, COMMAND_READ) || !wait_status(STATUS_OUTPUT, STATUS_OUTPUT))
		return false;
	uint8_t config = inb(PORT_DATA);
	config |= CONFIG_KBD_IRQ | CONFIG_TRANSLATE;
	config &= (uint8_t) ~(CONFIG_AUX_IRQ | CONFIG_KBD_CLOCK);
	if (!send(PORT_COMMAND, COMMAND_WRITE) || !send(PORT_DATA, config) ||
	    !send(PORT_COMMAND, COMMAND_KBD_ON) || !send(PORT_DATA, KBD_ENABLE))
		return false;
	if (wait_status(STATUS_OUTPUT, STATUS_OUTPUT))
		inb(PORT_DATA); // the keyboard's acknowledgement
	return true;
}

void keyboard_init(void)
{
	if (!firmware_has_controller() || !set_up_controller())
		return;
	if (irq_attach_line(KEYBOARD_LINE, false, false, keyboard_interrupt, NULL, "keyboard"))
		kprintf("keyboard: no interrupt, not used\n");
	// A key typed meanwhile has had its edge; unread it would block all that follow.
	drop_stale();
}

// SPDX-License-Identifier: BSD-2-Clause
// Formatted text, and the kernel log: a ring of the last text, and sinks (serial port, screen) that
// get every piece as it is printed. Contract in include/kernel/kprintf.h.
//
// A call formats into the log ring piece by piece with interrupts off, so lines of two contexts do not
// mix. A panic may come in the middle of a call, even inside a sink.
#include "kernel/kprintf.h"
#include "kernel/cpu.h"
#include "kernel/kstring.h"

#ifdef KPRINTF_UNDER_TEST
#undef ksnprintf
#undef kvsnprintf
#define ksnprintf  tested_ksnprintf
#define kvsnprintf tested_kvsnprintf
#endif

struct out {
	void (*put)(struct out *out, const char *text, size_t len);
	size_t total; // length of the whole text, stored or not
	char *buffer; // kvsnprintf: where it goes
	size_t size;
};

struct spec {
	bool left, zero, plus, space, alternate;
	bool has_precision;
	unsigned width, precision;
	int size; // bytes of the argument's type, 4 for int
};

static void put_repeated(struct out *out, char c, size_t count)
{
	for (; count; count--)
		out->put(out, &c, 1);
}

// One converted field: sign or 0x, zeros the precision asks for, digits or text, padded to the width.
static void put_field(struct out *out, const struct spec *spec, const char *prefix, size_t zeros,
		      const char *text, size_t len)
{
	size_t prefix_len = *prefix ? strlen(prefix) : 0, body = prefix_len + zeros + len;
	size_t pad = spec->width > body ? spec->width - body : 0;

	if (pad && !spec->left && !spec->zero)
		put_repeated(out, ' ', pad);
	out->put(out, prefix, prefix_len);
	if (pad && !spec->left && spec->zero)
		put_repeated(out, '0', pad);
	put_repeated(out, '0', zeros);
	out->put(out, text, len);
	if (pad && spec->left)
		put_repeated(out, ' ', pad);
}

static void put_number(struct out *out, struct spec *spec, uint64_t value, bool negative, char kind)
{
	unsigned base = kind == 'x' || kind == 'X' ? 16 : kind == 'o' ? 8 : 10;
	const char *digits = kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24], *p = text + sizeof(text);
	const char *prefix = "";
	size_t len, zeros = 0;
	bool nonzero = value != 0;

	for (; value; value /= base)
		*--p = digits[value % base];
	if (!nonzero && !(spec->has_precision && !spec->precision))
		*--p = '0';
	len = (size_t)(text + sizeof(text) - p);
	if (negative)
		prefix = "-";
	else if ((kind == 'd' || kind == 'i') && spec->plus)
		prefix = "+";
	else if ((kind == 'd' || kind == 'i') && spec->space)
		prefix = " ";
	else if (spec->alternate && base == 16 && nonzero)
		prefix = kind == 'X' ? "0X" : "0x";
	if (spec->has_precision) {
		spec->zero = false;
		zeros = spec->precision > len ? spec->precision - len : 0;
	}
	if (spec->alternate && base == 8 && !zeros && (!len || *p != '0'))
		zeros = 1;
	put_field(out, spec, prefix, zeros, p, len);
}

static const char *parse_number(const char *f, unsigned *value)
{
	for (*value = 0; *f >= '0' && *f <= '9'; f++)
		if (*value < 100000)
			*value = *value * 10 + (unsigned)(*f - '0');
	return f;
}

static const char *parse_size(const char *f, int *size)
{
	*size = 4;
	if (f[0] == 'h' && f[1] == 'h')
		return *size = 1, f + 2;
	if (f[0] == 'l' && f[1] == 'l')
		return *size = 8, f + 2;
	if (f[0] == 'h')
		return *size = 2, f + 1;
	if (f[0] == 'l' || f[0] == 'z' || f[0] == 'j' || f[0] == 't')
		return *size = 8, f + 1;
	return f;
}

static const char *parse_flags(const char *f, struct spec *spec)
{
	for (;; f++) {
		if (*f == '-')
			spec->left = true;
		else if (*f == '0')
			spec->zero = true;
		else if (*f == '+')
			spec->plus = true;
		else if (*f == ' ')
			spec->space = true;
		else if (*f == '#')
			spec->alternate = true;
		else
			return f;
	}
}

static const char *parse_spec(const char *f, struct spec *spec, va_list *args)
{
	*spec = (struct spec){};
	f = parse_flags(f, spec);
	if (*f == '*') {
		int width = va_arg(*args, int);

		spec->left |= width < 0;
		spec->width = width < 0 ? 0U - (unsigned)width : (unsigned)width;
		f++;
	} else {
		f = parse_number(f, &spec->width);
	}
	if (*f == '.') {
		spec->has_precision = true;
		if (*++f == '*') {
			int precision = va_arg(*args, int);

			spec->has_precision = precision >= 0;
			spec->precision = precision >= 0 ? (unsigned)precision : 0;
			f++;
		} else {
			f = parse_number(f, &spec->precision);
		}
	}
	return parse_size(f, &spec->size);
}

static void put_signed(struct out *out, struct spec *spec, char kind, va_list *args)
{
	int64_t value = spec->size == 8 ? va_arg(*args, int64_t) : va_arg(*args, int);

	if (spec->size == 1)
		value = (int8_t)value;
	if (spec->size == 2)
		value = (int16_t)value;
	put_number(out, spec, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0, kind);
}

static void put_unsigned(struct out *out, struct spec *spec, char kind, va_list *args)
{
	uint64_t value = spec->size == 8 ? va_arg(*args, uint64_t) : va_arg(*args, unsigned);

	if (spec->size == 1)
		value = (uint8_t)value;
	if (spec->size == 2)
		value = (uint16_t)value;
	put_number(out, spec, value, false, kind);
}

static void put_conversion(struct out *out, struct spec *spec, char kind, va_list *args)
{
	char c;
	const char *text;

	switch (kind) {
	case 'd':
	case 'i':
		put_signed(out, spec, kind, args);
		break;
	case 'u':
	case 'x':
	case 'X':
	case 'o':
		put_unsigned(out, spec, kind, args);
		break;
	case 'p':
		spec->alternate = true;
		put_number(out, spec, (uintptr_t)va_arg(*args, void *), false, 'x');
		break;
	case 'c':
		c = (char)va_arg(*args, int);
		spec->zero = false;
		put_field(out, spec, "", 0, &c, 1);
		break;
	case 's':
		text = va_arg(*args, const char *);
		text = text ? text : "(null)";
		spec->zero = false;
		put_field(out, spec, "", 0, text,
			  spec->has_precision ? strnlen(text, spec->precision) : strlen(text));
		break;
	default: // "%%", and what nobody knows is shown as it stands
		if (kind != '%')
			out->put(out, "%", 1);
		out->put(out, &kind, kind ? 1 : 0);
	}
}

static void format_into(struct out *out, const char *f, va_list *args)
{
	while (*f) {
		const char *start = f;
		struct spec spec;

		while (*f && *f != '%')
			f++;
		out->put(out, start, (size_t)(f - start));
		if (!*f)
			break;
		f = parse_spec(f + 1, &spec, args);
		put_conversion(out, &spec, *f, args);
		if (*f)
			f++;
	}
}

#if !defined(PAGEWIRE_HOST) || defined(KPRINTF_UNDER_TEST)
static void put_buffer(struct out *out, const char *text, size_t len)
{
	if (out->total < out->size)
		memcpy(out->buffer + out->total, text, MIN(len, out->size - out->total));
	out->total += len;
}

int kvsnprintf(char *buffer, size_t size, const char *format, va_list args)
{
	struct out out = {.put = put_buffer, .buffer = buffer, .size = size ? size - 1 : 0};
	va_list copy;

	va_copy(copy, args);
	format_into(&out, format, &copy);
	va_end(copy);
	if (size)
		buffer[MIN(out.total, size - 1)] = 0;
	return (int)out.total;
}

int ksnprintf(char *buffer, size_t size, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = kvsnprintf(buffer, size, format, args);
	va_end(args);
	return len;
}
#endif

// The log. Everything below is touched with interrupts off.
#define LOG_BYTES 32768 // power of two
static char log_ring[LOG_BYTES];
static uint64_t log_end; // characters ever logged; the ring holds the last LOG_BYTES of them
static struct kprintf_sink *sinks;
static const struct kprintf_guard *guard;

// A call's text is gathered here and goes to the sinks in pieces of this size: the serial port is
// filled sixteen characters at a time, the screen redraws once a piece.
static char piece[256];
static size_t piece_len;

// A sink that faults is not tried again for the panic's text; the others are.
static struct kprintf_sink *inside;

static void piece_flush(void)
{
	struct kprintf_sink *outer = inside;
	size_t len = piece_len;

	piece_len = 0;
	for (struct kprintf_sink *sink = sinks; sink; sink = sink->next) {
		if (sink == outer)
			continue;
		inside = sink;
		sink->write(sink, piece, len);
	}
	inside = outer;
}

static void put_log(struct out *out, const char *text, size_t len)
{
	while (len) {
		size_t at = log_end % LOG_BYTES;
		size_t n = MIN(len, MIN(sizeof(piece) - piece_len, LOG_BYTES - at));

		memcpy(log_ring + at, text, n);
		memcpy(piece + piece_len, text, n);
		log_end += n;
		piece_len += n;
		text += n;
		len -= n;
		if (piece_len == sizeof(piece))
			piece_flush();
	}
}

void kvprintf(const char *format, va_list args)
{
	struct out out = {.put = put_log};
	bool on = irq_save();
	const struct kprintf_guard *around = guard;
	va_list copy;

	if (around)
		around->before();
	va_copy(copy, args);
	format_into(&out, format, &copy);
	va_end(copy);
	piece_flush();
	if (around)
		around->after(log_end && log_ring[(log_end - 1) % LOG_BYTES] == '\n');
	irq_restore(on);
}

void kprintf(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	kvprintf(format, args);
	va_end(args);
}

void kprintf_history(void (*visit)(void *ctx, const char *text, size_t len), void *ctx)
{
	bool on = irq_save();
	size_t start = log_end % LOG_BYTES;

	if (log_end >= LOG_BYTES)
		visit(ctx, log_ring + start, LOG_BYTES - start);
	visit(ctx, log_ring, start);
	irq_restore(on);
}

static void write_to_sink(void *ctx, const char *text, size_t len)
{
	struct kprintf_sink *sink = ctx;

	sink->write(sink, text, len);
}

void kprintf_add_sink(struct kprintf_sink *sink)
{
	bool on = irq_save();

	kprintf_history(write_to_sink, sink);
	sink->next = sinks;
	sinks = sink;
	irq_restore(on);
}

void kprintf_emit(const char *text, size_t len)
{
	bool on = irq_save();

	for (struct kprintf_sink *sink = sinks; sink; sink = sink->next)
		sink->write(sink, text, len);
	irq_restore(on);
}

void kprintf_flush(void)
{
	for (struct kprintf_sink *sink = sinks; sink; sink = sink->next)
		if (sink->flush)
			sink->flush(sink);
}

void kprintf_set_guard(const struct kprintf_guard *new_guard)
{
	guard = new_guard;
}

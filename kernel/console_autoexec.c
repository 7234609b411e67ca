// SPDX-License-Identifier: BSD-2-Clause
// AUTOEXEC: the lines of /autoexec on the root volume, run at start as if somebody had typed them. '#' begins a
// remark. A program that is to stay in the background is loaded with "&", or it has the console until it ends.
#include "kernel/console.h"
#include "kernel/console_private.h"
#include "kernel/files.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"

#define FILE_PATH  "/autoexec"
#define FILE_BYTES 16384 // more is not taken, and said
#define LINE_BYTES 256	 // as LINEEDIT_BYTES: what could be typed

static int64_t read_file(char *text)
{
	struct stream_part part = {(uintptr_t)text, FILE_BYTES};
	struct stream_io io = {.parts = &part, .count = 1, .left = FILE_BYTES, .kernel = true};
	struct stream *s;
	int64_t got = path_open(FILE_PATH, sizeof(FILE_PATH) - 1, STREAM_RDONLY, 0, &s);

	if (got)
		return got;
	got = stream_read_at(s, &io, 0);
	stream_put(s);
	return got;
}

static void run_line(const char *text, size_t len)
{
	char line[LINE_BYTES];

	while (len && (*text == ' ' || *text == '\t')) {
		text++;
		len--;
	}
	if (!len || *text == '#')
		return;
	if (len >= sizeof(line)) {
		console_printf("autoexec: a line is longer than %u characters\n", LINE_BYTES - 1);
		return;
	}
	memcpy(line, text, len);
	line[len] = 0;
	console_printf("autoexec: %s\n", line);
	console_run(line);
}

void console_autoexec(void)
{
	char *text = kpages_alloc(FILE_BYTES);
	int64_t got = text ? read_file(text) : -ENOMEM;

	if (got == FILE_BYTES)
		console_printf("autoexec: only the first %u bytes are taken\n", FILE_BYTES);
	for (int64_t at = 0, end; at < got; at = end + 1) {
		for (end = at; end < got && text[end] != '\n' && text[end] != '\r'; end++)
			;
		run_line(text + at, (size_t)(end - at));
	}
	if (text)
		kpages_free(text, FILE_BYTES);
}

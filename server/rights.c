// SPDX-License-Identifier: BSD-2-Clause
// Who may do what: see rights.h. As yet without users: everybody reads, and with write=on everybody changes.
#include "server/rights.h"
#include "kernel/cmdline.h"
#include "kernel/kstring.h"
#include "server/http_conn.h"

static bool writing;

static bool set_write(const char *value)
{
	writing = value && strcmp(value, "on") == 0;
	return writing || (value && strcmp(value, "off") == 0);
}
CMDLINE_OPTION(write, "write", "write=on  clients may change files", set_write);

bool rights_writing(void)
{
	return writing;
}

int rights_check(struct http_exchange *x, const char *path, size_t len, unsigned rights)
{
	if ((rights & ~(unsigned)(RIGHT_READ | RIGHT_LIST)) == 0 || writing)
		return 0;
	x->reason = "This server only reads: it was started without write=on.";
	return 403;
}

// SPDX-License-Identifier: BSD-2-Clause
// The `ip=` word of the command line, in Linux's format (its Documentation/admin-guide/nfs/nfsroot.rst):
//     ip=dhcp                                        (or on, any: the same; off, none: no IPv4)
//     ip=<client>:<server>:<gateway>:<mask>:<host>:<device>:<autoconf>
// Fields may be empty, later ones may be left out. The server is checked and not used; the device is a
// card's name or eth<number>; autoconf is off or none (static), or dhcp, on, any.
#pragma once

#include "kernel/base.h"

enum ip_method { IP_DHCP, IP_STATIC, IP_OFF };

struct ip_line {
	enum ip_method method;
	uint32_t client, gateway, mask; // network byte order; gateway 0: none
	char host[32], device[16];	// empty: not given
};

// Pure. False: the text is not of that format, and *line is undefined.
bool ip_line_parse(const char *text, struct ip_line *line);

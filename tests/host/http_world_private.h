// SPDX-License-Identifier: BSD-2-Clause
// Between the two halves of the HTTP server's world.
#pragma once

#include "http_world.h"
#include "kernel/page.h"

void world_tcp_finish(void);
void world_rights_finish(void);

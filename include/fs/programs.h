// SPDX-License-Identifier: BSD-2-Clause
// Volumes as programs see them (fs/userfile.c).
#pragma once

void userfile_init(void); // boot, after process_init

// SPDX-License-Identifier: BSD-2-Clause
// signalfd's part in sending (kernel/signalfd.c).
#pragma once

void signalfd_tell(int signal); // process_lock held: one is pending somewhere

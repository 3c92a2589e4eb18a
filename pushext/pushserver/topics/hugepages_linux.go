package topics

import "syscall"

// adviseHuge asks for huge pages in the middle of b, as far as they are
// whole and not in use yet. It is a wish: nothing but time depends on it.
func adviseHuge(b []byte) { _ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) }

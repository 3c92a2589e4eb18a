package topics

import "syscall"

// adviseHuge asks for huge pages for the whole pages in b that are not in use yet. It
// is only advice: a refusal costs nothing but time.
func adviseHuge(b []byte) { _ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) }

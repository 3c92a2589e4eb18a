package durable_test

import (
	"fmt"
	"os"

	"whisperpush/durable"
)

// What Write has returned for is on the disk, and there after the next Open.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "durable")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for _, value := range []string{"first", "second"} {
		db, err := durable.Open(dir, durable.Options{})
		if err != nil {
			fmt.Println(err) // says what is wrong and what to do
			return
		}
		before, err := db.Get([]byte("key"))
		fmt.Printf("%q %v\n", before, err)
		var b durable.Batch
		b.Put([]byte("key"), []byte(value))
		if err := db.Write(&b); err != nil {
			fmt.Println(err) // nothing was acknowledged; it may be tried again
		}
		if err := db.Close(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// "" not found
	// "first" <nil>
}

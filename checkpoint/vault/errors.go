package vault

import (
	"errors"
	"fmt"

	"cellar/internal/fault"
)

// Codes of the faults of this package, for programs.
const (
	CodeDamaged = "vault_damaged" // stored bytes are not what was written
	CodeGone    = "vault_gone"    // a page is referred to and not there
	CodeKey     = "vault_key"     // sealed with another key
	CodeBase    = "vault_base"    // an object that is of no checkpoint any more
	CodeExists  = "vault_exists"  // there is a checkpoint of that name already
)

// damaged is the error for stored bytes that are not what was written.
func damaged(what string, err error) error {
	return fault.Wrap(fault.Unavailable, CodeDamaged, "Part of the vault is damaged. cellar vault verify says which checkpoints it hurts.",
		fmt.Errorf("%s: %w", what, err))
}

// gone is the error for a location that leads nowhere.
func gone(l Location) error {
	return fault.Wrap(fault.Unavailable, CodeGone, "Part of a checkpoint is not in the vault. cellar vault verify says which checkpoints this hurts.",
		fmt.Errorf("location %s", l))
}

func wrongKey(what string) error {
	return fault.Wrap(fault.Denied, CodeKey, "The key is not the one that this was sealed with.", errors.New(what))
}

// isLost says whether err means that bytes are lost for good: damaged or not
// there. All else may go better next time.
func isLost(err error) bool {
	code := fault.CodeOf(err)
	return err != nil && (code == CodeDamaged || code == CodeGone || errors.Is(err, fault.NotFound))
}

// Package imports holds the test of the import picture: which of the module's
// packages may know which. It has no code of its own.
package imports

"""Tables that the library reads: organs, abnormalities, embedded phrases, the result schema."""

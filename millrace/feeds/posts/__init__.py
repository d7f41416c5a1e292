"""Short posts of people, with their hashtags: from Bluesky, from recorded tweets, from a socket, or made up."""

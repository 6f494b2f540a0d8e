"""Who is who: from one vector per face to people, with human constraints and stable ids."""

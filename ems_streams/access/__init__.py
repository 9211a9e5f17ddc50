"""Who may do what: tokens, roles and sites; certificates of servers; what processes show each other."""
